"""The Hugging Face Hub: find and sample data sets, publish what a run made. HF_ENDPOINT and INTERN_VIEWER name other hosts."""
