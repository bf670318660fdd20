"""Language models: the LLaMA architecture, its files (GGUF, safetensors), its tokenizers and chat templates."""
