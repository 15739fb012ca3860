"""What a reply is worth, as functions of texts in the form of TRL; a scorer's model is passed in."""
