"""Train, evaluate and serve LoRA adapters behind one interface, with quality gates that mean something."""
