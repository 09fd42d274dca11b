//! A run: what it is told, the stages joined, checkpoint, report.
