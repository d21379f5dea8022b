//! Tensors of a model file, read with their shapes checked and every value finite.

use safetensors::{Dtype, SafeTensors};

use crate::kernels::{Dense, Table, half_to_single};
use crate::model::ModelError;

pub(crate) struct Weights<'a> {
    tensors: SafeTensors<'a>,
    table: &'static Table,
}

impl<'a> Weights<'a> {
    pub(crate) fn parse(bytes: &'a [u8], table: &'static Table) -> Result<Self, ModelError> {
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| ModelError::Unreadable(e.to_string()))?;
        Ok(Self { tensors, table })
    }

    /// The values of a tensor of exactly this shape.
    pub(crate) fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        let view = self
            .tensors
            .tensor(name)
            .map_err(|_| ModelError::Missing(name.to_owned()))?;
        if view.shape() != shape {
            let problem = format!("{name} is {:?}, expected {shape:?}", view.shape());
            return Err(ModelError::Shape(problem));
        }
        let values: Vec<f32> = match view.dtype() {
            Dtype::F16 => view
                .data()
                .chunks_exact(2)
                .map(|b| half_to_single(u16::from_le_bytes([b[0], b[1]])))
                .collect(),
            Dtype::F32 => view
                .data()
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect(),
            other => {
                return Err(ModelError::Shape(format!(
                    "{name} is of type {other:?}, expected F16 or F32"
                )));
            }
        };
        match values.iter().position(|v| !v.is_finite()) {
            Some(at) => Err(ModelError::NotFinite(format!("{name}[{at}]"))),
            None => Ok(values),
        }
    }

    /// A dense layer `{name}.weight [outputs, inputs]`, `{name}.bias [outputs]`.
    pub(crate) fn dense(&self, name: &str, inputs: usize, outputs: usize) -> Result<Dense, ModelError> {
        let rows = self.tensor(&format!("{name}.weight"), &[outputs, inputs])?;
        let bias = self.tensor(&format!("{name}.bias"), &[outputs])?;
        Ok(Dense::new(self.table, &rows, bias, inputs))
    }

    /// A matrix without bias, stored `[inputs, outputs]`.
    pub(crate) fn projection(&self, name: &str, inputs: usize, outputs: usize) -> Result<Dense, ModelError> {
        let columns = self.tensor(name, &[inputs, outputs])?;
        let mut rows = vec![0.0; columns.len()];
        for i in 0..inputs {
            for o in 0..outputs {
                rows[o * inputs + i] = columns[i * outputs + o];
            }
        }
        Ok(Dense::new(self.table, &rows, vec![0.0; outputs], inputs))
    }
}
