//! Mean PESQ-WB over 6 training speakers held back from the model. Written by `./x bench expected --write`.

/// Target kbps of libopus 1.6.1 (voip, wide band, constrained VBR, complexity 10, decoder without enhancement), and
/// the score in packets of 20, 60, 80 and 120 ms.
pub(crate) const OPUS: [(f32, [f32; 4]); 9] = [
    (6.0, [1.41, 1.70, 1.94, 2.13]),
    (8.0, [2.61, 2.85, 2.35, 2.50]),
    (9.0, [3.02, 3.39, 2.78, 2.85]),
    (10.0, [3.51, 3.63, 3.25, 3.28]),
    (12.0, [3.91, 3.72, 3.62, 3.70]),
    (16.0, [4.21, 4.25, 4.09, 4.12]),
    (24.0, [4.42, 4.43, 4.40, 4.39]),
    (32.0, [4.47, 4.46, 4.45, 4.46]),
    (48.0, [4.49, 4.49, 4.49, 4.48]),
];

/// The built-in model at 1.5, 3, 6 and 9 kbps.
pub(crate) const NEURAL: [f32; 4] = [1.41, 1.76, 2.34, 2.67];
