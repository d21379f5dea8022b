// Starting values, not yet fitted.
const COEFFICIENTS: [f32; TERMS] = [4.0, -1.0, -0.3, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
