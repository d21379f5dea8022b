//! The brain: modes, ladder, network analysis, fallback, behind the Processor trait. Sans-IO.
