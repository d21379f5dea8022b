//! Mean PESQ-WB over 16 training speakers held back from the model. Written by `./x bench expected --write`.

/// Target kbps of libopus 1.6.1 (voip, wide band, constrained VBR, complexity 10, decoder without enhancement), and
/// the score in packets of 20, 60, 80 and 120 ms.
pub(crate) const OPUS: [(f32, [f32; 4]); 9] = [
    (6.0, [1.40, 1.67, 2.05, 2.22]),
    (8.0, [2.70, 2.99, 2.39, 2.61]),
    (9.0, [3.22, 3.42, 2.87, 2.87]),
    (10.0, [3.58, 3.67, 3.16, 3.29]),
    (12.0, [3.95, 3.90, 3.56, 3.73]),
    (16.0, [4.23, 4.26, 4.08, 4.12]),
    (24.0, [4.42, 4.42, 4.38, 4.39]),
    (32.0, [4.46, 4.46, 4.44, 4.46]),
    (48.0, [4.48, 4.48, 4.48, 4.48]),
];

/// The built-in model at 1.5, 3, 6 and 9 kbps.
pub(crate) const NEURAL: [f32; 4] = [1.70, 2.29, 3.05, 3.36];
