"""Post-training jobs on TRL and PEFT, the reader of their metric streams, and what brings a model to `final_model`.

Light (host side): spec, export_spec, stream, promote, detectors, diagnosis, diagnose_file. Heavy (job processes only:
torch, TRL): sft, grpo, export and what they share (recipe, model_files, examples, callback, scoring, rewards, trackio).
"""
