//! A trained model: weights with a manifest that says what they are.

use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::kernels::book::Book;
use crate::kernels::{Dense, Kernel, Table};
use crate::mdct::Mdct;
use crate::network::Block;
use crate::weights::Weights;
use crate::{ENTRIES, FRAME_SAMPLES, HOP, LATENT, LEVELS_MAX, SAMPLE_RATE};

/// Layout of weights and codes that this build understands.
const FORMAT: u32 = 1;
/// Dilations of the blocks of a trunk, in order.
const DILATIONS: [usize; 8] = [1, 2, 4, 1, 2, 4, 1, 2];

/// Why a model was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// The manifest is not what it should be.
    #[error("model manifest: {0}")]
    Manifest(String),
    /// Another format version.
    #[error("model format {0}, this build reads {FORMAT}")]
    Format(u32),
    /// The weights are not those the manifest speaks of.
    #[error("model weights have sha256 {found}, the manifest says {expected}")]
    Hash {
        /// As computed.
        found: String,
        /// As written.
        expected: String,
    },
    /// Not a safetensors file.
    #[error("model weights are unreadable: {0}")]
    Unreadable(String),
    /// A tensor is missing.
    #[error("model has no tensor {0}")]
    Missing(String),
    /// A tensor has another shape or type.
    #[error("model tensor {0}")]
    Shape(String),
    /// A weight is NaN or infinite.
    #[error("model weight {0} is not finite")]
    NotFinite(String),
    /// This processor does not have it.
    #[error("this processor cannot run the {0} kernel")]
    Kernel(Kernel),
}

/// Names a model on the wire: the first 16 bits of its weights' hash. Both ends agree on it or use Opus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelId(pub u16);

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}", self.0)
    }
}

/// Sizes of the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Channels of the encoder's trunk.
    pub enc_width: usize,
    /// Blocks of the encoder's trunk.
    pub enc_blocks: usize,
    /// Channels of the decoder's trunk.
    pub dec_width: usize,
    /// Blocks of the decoder's trunk.
    pub dec_blocks: usize,
    /// How much wider a block is inside.
    pub expand: usize,
    /// Taps of the depthwise convolutions.
    pub kernel: usize,
}

/// What a model is and where it comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Layout of weights and codes.
    pub format: u32,
    /// Name of the model.
    pub name: String,
    /// Hex SHA-256 of the weights file.
    pub sha256: String,
    /// Licence of the weights.
    pub licence: String,
    /// Samples per second.
    pub sample_rate: u32,
    /// Samples per frame.
    pub frame: usize,
    /// Residual levels.
    pub levels: usize,
    /// Sizes of the network.
    pub shape: Shape,
    /// Optimiser steps.
    pub steps: u64,
    /// What it was trained on: licence of the rows to their count and hours.
    pub data: serde_json::Value,
    /// Figures at export.
    pub figures: serde_json::Value,
}

/// A loaded model, shared by all streams that use it.
pub struct Model {
    manifest: Manifest,
    id: ModelId,
    pub(crate) table: &'static Table,
    pub(crate) mdct: Mdct,
    pub(crate) enc_in: Dense,
    pub(crate) enc_blocks: Vec<Block>,
    pub(crate) enc_out: Dense,
    pub(crate) enc_skip: Dense,
    pub(crate) dec_in: Dense,
    pub(crate) dec_lost: Vec<f32>,
    pub(crate) dec_blocks: Vec<Block>,
    pub(crate) dec_out: Dense,
    pub(crate) dec_skip: Dense,
    /// One per level.
    pub(crate) books: Vec<Book>,
    /// `[levels][ENTRIES]`.
    entries: Vec<[f32; LATENT]>,
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("name", &self.manifest.name)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Model {
    /// The model built into this crate, loaded once.
    pub fn builtin() -> Result<Arc<Self>, ModelError> {
        static BUILTIN: OnceLock<Result<Arc<Model>, ModelError>> = OnceLock::new();
        BUILTIN.get_or_init(|| Self::builtin_for(Kernel::best())).clone()
    }

    /// The built-in model for a kernel of one's choice, loaded anew: for benchmarks.
    pub fn builtin_for(kernel: Kernel) -> Result<Arc<Self>, ModelError> {
        Self::load_for(
            kernel,
            include_bytes!("../../../models/aic-speech-1.safetensors"),
            include_bytes!("../../../models/aic-speech-1.json"),
        )
    }

    /// Checks manifest, hash, shapes and values, in that order; runs on the fastest kernel there is.
    pub fn load(weights: &[u8], manifest: &[u8]) -> Result<Arc<Self>, ModelError> {
        Self::load_for(Kernel::best(), weights, manifest)
    }

    /// [`load`](Self::load) for a kernel of one's choice: tests and benchmarks compare them.
    pub fn load_for(kernel: Kernel, weights: &[u8], manifest: &[u8]) -> Result<Arc<Self>, ModelError> {
        let table = kernel.table().ok_or(ModelError::Kernel(kernel))?;
        let manifest: Manifest =
            serde_json::from_slice(manifest).map_err(|e| ModelError::Manifest(e.to_string()))?;
        if manifest.format != FORMAT {
            return Err(ModelError::Format(manifest.format));
        }
        if (manifest.sample_rate, manifest.frame, manifest.levels) != (SAMPLE_RATE, FRAME_SAMPLES, LEVELS_MAX)
        {
            return Err(ModelError::Manifest(format!(
                "sample_rate {}, frame {}, levels {}: this build knows {SAMPLE_RATE}, {FRAME_SAMPLES}, {LEVELS_MAX}",
                manifest.sample_rate, manifest.frame, manifest.levels
            )));
        }
        let digest = Sha256::digest(weights);
        let found: String = digest.iter().map(|b| format!("{b:02x}")).collect();
        if found != manifest.sha256 {
            return Err(ModelError::Hash {
                found,
                expected: manifest.sha256,
            });
        }
        let shape = manifest.shape.clone();
        check(&shape)?;
        let weights = Weights::parse(weights, table)?;
        let entries = weights
            .tensor("quantizer.books", &[LEVELS_MAX, ENTRIES, LATENT])?
            .as_chunks()
            .0
            .to_vec();
        let books = entries
            .chunks_exact(ENTRIES)
            .map(|entries| Book::new(table, entries))
            .collect();
        let (enc, dec) = (shape.enc_width, shape.dec_width);
        Ok(Arc::new(Self {
            id: ModelId(u16::from_be_bytes([digest[0], digest[1]])),
            table,
            mdct: Mdct::new(table),
            enc_in: weights.dense("encoder.inp", 3 * HOP, enc)?,
            enc_blocks: blocks(&weights, "encoder", enc, shape.enc_blocks, &shape)?,
            enc_out: weights.dense("encoder.out", 2 * enc, LATENT)?,
            enc_skip: weights.projection("encoder.skip", FRAME_SAMPLES, LATENT)?,
            dec_in: weights.dense("decoder.inp", LATENT, 2 * dec)?,
            dec_lost: weights.tensor("decoder.lost", &[2 * dec])?,
            dec_blocks: blocks(&weights, "decoder", dec, shape.dec_blocks, &shape)?,
            dec_out: weights.dense("decoder.out", dec, 2 * HOP)?,
            dec_skip: weights.projection("decoder.skip", LATENT, FRAME_SAMPLES)?,
            books,
            entries,
            manifest,
        }))
    }

    /// The model's name on the wire.
    pub fn id(&self) -> ModelId {
        self.id
    }

    /// What it is and where it comes from.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The kernel it runs on.
    pub fn kernel(&self) -> Kernel {
        self.table.kernel
    }

    /// Entries of a level.
    pub(crate) fn entries(&self, level: usize) -> &[[f32; LATENT]] {
        &self.entries[level * ENTRIES..][..ENTRIES]
    }
}

fn check(shape: &Shape) -> Result<(), ModelError> {
    let fits = |width: usize| width > 0 && width.is_multiple_of(32) && width <= 1024;
    let ok = fits(shape.enc_width)
        && fits(shape.dec_width)
        && shape.enc_blocks <= DILATIONS.len()
        && shape.dec_blocks <= DILATIONS.len()
        && (1..=8).contains(&shape.expand)
        && (1..=16).contains(&shape.kernel);
    if ok {
        Ok(())
    } else {
        Err(ModelError::Shape(format!("sizes are out of bounds: {shape:?}")))
    }
}

fn blocks(
    weights: &Weights<'_>,
    side: &str,
    width: usize,
    count: usize,
    shape: &Shape,
) -> Result<Vec<Block>, ModelError> {
    (0..count)
        .map(|n| {
            let name = format!("{side}.blocks.{n}");
            Ok(Block {
                width,
                dilation: DILATIONS[n],
                depth: weights.tensor(&format!("{name}.depth"), &[shape.kernel, width])?,
                up: weights.dense(&format!("{name}.up"), width, width * shape.expand)?,
                down: weights.dense(&format!("{name}.down"), width * shape.expand, width)?,
            })
        })
        .collect()
}
