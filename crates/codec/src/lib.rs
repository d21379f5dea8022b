//! Neural speech codec: model, streaming encoder and decoder.
