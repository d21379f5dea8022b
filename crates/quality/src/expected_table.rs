//! Mean PESQ-WB over 0 training speakers held back from the model. Written by `./x bench expected --write`.

/// Target kbps of libopus 1.6.1 (voip, wide band, constrained VBR, complexity 10, decoder without enhancement), and
/// the score in packets of 20, 60, 80 and 120 ms.
pub(crate) const OPUS: [(f32, [f32; 4]); 9] = [
    (6.0, [1.39, 1.59, 1.39, 1.39]),
    (8.0, [2.63, 2.89, 2.33, 2.33]),
    (9.0, [3.09, 3.27, 2.79, 2.79]),
    (10.0, [3.45, 3.56, 3.15, 3.15]),
    (12.0, [3.85, 3.92, 3.55, 3.55]),
    (16.0, [4.18, 4.22, 3.88, 3.88]),
    (24.0, [4.40, 4.40, 4.10, 4.10]),
    (32.0, [4.46, 4.46, 4.16, 4.16]),
    (48.0, [4.48, 4.48, 4.18, 4.18]),
];

/// The built-in model at 1.5, 3, 6 and 9 kbps.
pub(crate) const NEURAL: [f32; 4] = [1.40, 1.76, 2.35, 2.69];
