"""Reports that are filed: one document model, rendered as HTML and as PDF, and what is written of a sample."""
