"""Feature distillation: teachers, and the stages that use their features."""
