//! The training loop: recipes, schedules, checkpoints, run directories, reports.
