"""Problems with right answers, where they come from and how they are split; never a model."""
