"""From a question to rated replies: prompts, texts, rewards and their records; never how a model learns from them."""
