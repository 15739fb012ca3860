"""Models in the files of other programs, read and written: safetensors, Hugging Face's families, GGUF, PEFT."""
