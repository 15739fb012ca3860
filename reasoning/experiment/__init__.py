"""From the text of an experiment file to checked settings and back; never what the settings are for."""
