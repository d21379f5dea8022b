//! A voice-like signal, for when no recording is at hand.

use super::SAMPLE_RATE;

/// Ten seconds of a voice-like signal at 48 kHz: a gliding pitch with three formants, in syllables with pauses.
pub fn made_up_voice() -> Vec<f32> {
    voice_like(10 * SAMPLE_RATE as usize)
}

fn voice_like(samples: usize) -> Vec<f32> {
    let rate = SAMPLE_RATE as f32;
    let mut phase = 0.0f32;
    let mut out = vec![0.0f32; samples];
    let mut noise = 0x2545_f491u32;
    let mut resonators =
        [(500.0, 80.0), (1500.0, 120.0), (2500.0, 180.0)].map(|(f, bw)| Resonator::new(f, bw));
    for (n, sample) in out.iter_mut().enumerate() {
        let t = n as f32 / rate;
        let syllable = (t * 4.0).fract();
        let phrase = if (t % 2.5) < 2.0 { 1.0 } else { 0.0 };
        let envelope = phrase * (std::f32::consts::PI * syllable).sin().max(0.0).powf(0.7);
        let pitch = 120.0 + 25.0 * (2.0 * std::f32::consts::PI * 0.4 * t).sin();
        phase += pitch / rate;
        let pulse = if phase >= 1.0 {
            phase -= 1.0;
            1.0
        } else {
            0.0
        };
        noise ^= noise << 13;
        noise ^= noise >> 17;
        noise ^= noise << 5;
        let breath = (noise as f32 / u32::MAX as f32 - 0.5) * 0.02;
        if n % 12_000 == 0 {
            let vowel = (n / 12_000) % 4;
            let formants = [(700.0, 1200.0), (300.0, 2200.0), (500.0, 900.0), (400.0, 1900.0)][vowel];
            resonators[0] = resonators[0].at(formants.0, 80.0);
            resonators[1] = resonators[1].at(formants.1, 120.0);
        }
        let excitation = (pulse + breath) * envelope;
        let voiced: f32 = resonators
            .iter_mut()
            .map(|resonator| resonator.step(excitation))
            .sum();
        *sample = voiced + breath * 0.01;
    }
    let peak = out.iter().fold(1e-6f32, |a, b| a.max(b.abs()));
    out.iter_mut().for_each(|sample| *sample *= 0.5 / peak);
    out
}

#[derive(Clone, Copy)]
struct Resonator {
    a1: f32,
    a2: f32,
    gain: f32,
    y1: f32,
    y2: f32,
}

impl Resonator {
    fn new(frequency: f32, bandwidth: f32) -> Self {
        Self {
            a1: 0.0,
            a2: 0.0,
            gain: 0.0,
            y1: 0.0,
            y2: 0.0,
        }
        .at(frequency, bandwidth)
    }

    fn at(self, frequency: f32, bandwidth: f32) -> Self {
        let rate = SAMPLE_RATE as f32;
        let radius = (-std::f32::consts::PI * bandwidth / rate).exp();
        let angle = 2.0 * std::f32::consts::PI * frequency / rate;
        Self {
            a1: 2.0 * radius * angle.cos(),
            a2: -radius * radius,
            gain: 1.0 - radius,
            ..self
        }
    }

    fn step(&mut self, input: f32) -> f32 {
        let out = self.gain * input + self.a1 * self.y1 + self.a2 * self.y2;
        self.y2 = self.y1;
        self.y1 = out;
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_made_up_voice_is_audible_and_never_clips() {
        let pcm = voice_like(48_000);
        let rms = (pcm.iter().map(|x| x * x).sum::<f32>() / pcm.len() as f32).sqrt();
        assert!(rms > 0.01 && pcm.iter().all(|x| x.abs() <= 0.5));
    }
}
