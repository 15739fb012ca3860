"""What the records of a run, a sweep or a plan say, as numbers and in words; nothing here knows a table or a page."""
