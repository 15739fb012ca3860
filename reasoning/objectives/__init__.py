"""What training minimises, as pure functions of arrays; never a model, a file or a stage."""
