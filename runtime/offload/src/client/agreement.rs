//! How a server and this board speak to each other: found out once, then kept.

use bytes::Bytes;

use crate::protocol::{Datatype, InferReply, InferRequest, Tensor, TensorMetadata, join_byte_elements};

use super::RemoteFailure;

/// What a frame is turned into before it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// An encoded photo: the server crops and scales.
    Photo,
    /// Cropped and scaled pixels, one byte a colour: rows of pixels, or one plane a colour.
    Pixels {
        /// One plane a colour.
        planes: bool,
    },
    /// The model's own input: cropped, scaled and normalised floats.
    Floats {
        /// One plane a colour.
        planes: bool,
    },
}

impl Form {
    fn datatype(self) -> Datatype {
        match self {
            Self::Photo => Datatype::Bytes,
            Self::Pixels { .. } => Datatype::Uint8,
            Self::Floats { .. } => Datatype::Fp32,
        }
    }

    /// The name in logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Photo => "photos",
            Self::Pixels { .. } => "pixels",
            Self::Floats { .. } => "floats",
        }
    }
}

/// How messages travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Protobuf over HTTP/2.
    Grpc,
    /// JSON and the tensors' bytes over HTTP/1.
    RestBinary,
    /// JSON only.
    RestJson,
}

impl Transport {
    /// The name in logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Grpc => "gRPC",
            Self::RestBinary => "REST, binary",
            Self::RestJson => "REST, JSON",
        }
    }
}

/// What was found to work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement {
    /// How messages travel.
    pub transport: Transport,
    /// What is in them.
    pub form: Form,
    /// The model's name on the server.
    pub model: String,
    pub(super) input: String,
    pub(super) shape: Vec<i64>,
}

impl Agreement {
    /// The request for one frame. `id` comes back with the reply; `timeout_us` tells the server when to give up.
    pub(super) fn request(&self, id: &str, payload: &Bytes, timeout_us: u64) -> Result<InferRequest, RemoteFailure> {
        let broken = |error: crate::protocol::ProtocolError| RemoteFailure::Server(error.to_string());
        let data = match self.form {
            Form::Photo => join_byte_elements(&[payload]).map_err(broken)?,
            Form::Pixels { .. } | Form::Floats { .. } => payload.clone(),
        };
        let tensor = Tensor::new(&self.input, self.form.datatype(), &self.shape, data).map_err(broken)?;
        Ok(InferRequest {
            id: Some(id.to_owned()),
            parameters: [("timeout".to_owned(), timeout_us.into())].into(),
            inputs: vec![tensor],
            outputs: vec![],
        })
    }
}

/// What a model's input could be fed with, judging by its description: a photo is worth a try anywhere.
pub(super) fn forms(input: &TensorMetadata, height: usize, width: usize) -> Option<(Form, Vec<i64>)> {
    let axis = |size: usize| i64::try_from(size).unwrap_or(i64::MAX);
    let (height, width) = (axis(height), axis(width));
    // With or without a batch axis; -1 is any size.
    let (batch, shape) = match input.shape.as_slice() {
        [_, a, b, c] => (true, [*a, *b, *c]),
        [a, b, c] => (false, [*a, *b, *c]),
        _ => return None,
    };
    let fits = |wanted: [i64; 3]| shape.iter().zip(wanted).all(|(&axis, wanted)| axis == wanted || axis == -1);
    let (planes, wanted) = if fits([height, width, 3]) {
        (false, [height, width, 3])
    } else if fits([3, height, width]) {
        (true, [3, height, width])
    } else {
        return None;
    };
    let form = match Datatype::from_name(&input.datatype)? {
        Datatype::Uint8 => Form::Pixels { planes },
        Datatype::Fp32 => Form::Floats { planes },
        _ => return None,
    };
    Some((form, if batch { [&[1], &wanted[..]].concat() } else { wanted.to_vec() }))
}

/// The one usable output of a reply: as many finite floats as there are classes.
pub(super) fn usable(reply: &InferReply, id: &str, classes: usize) -> Result<Vec<f32>, RemoteFailure> {
    let refuse = |detail: String| Err(RemoteFailure::Server(detail));
    if let Some(other) = reply.id.as_deref().filter(|other| *other != id) {
        return refuse(format!("the reply is to '{}', asked was '{id}'", other.chars().take(40).collect::<String>()));
    }
    let logits = reply.outputs.iter().filter_map(Tensor::f32_values).find(|values| values.len() == classes);
    let Some(logits) = logits else {
        let found: Vec<String> = reply
            .outputs
            .iter()
            .take(4)
            .map(|output| format!("{} {:?}", output.datatype().name(), output.shape()))
            .collect();
        return refuse(format!("no output of {classes} FP32 numbers, only {}", found.join(", ")));
    };
    if logits.iter().any(|logit| !logit.is_finite()) {
        return refuse("the output holds numbers that are not finite".into());
    }
    Ok(logits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(datatype: &str, shape: &[i64]) -> TensorMetadata {
        TensorMetadata { name: "x".into(), datatype: datatype.into(), shape: shape.to_vec() }
    }

    #[test]
    fn descriptions_of_real_servers() {
        let check = |datatype: &str, shape: &[i64]| forms(&input(datatype, shape), 32, 32);
        let rows = |form| Some((form, vec![1, 32, 32, 3]));
        assert_eq!(check("UINT8", &[-1, 32, 32, 3]), rows(Form::Pixels { planes: false }));
        assert_eq!(check("UINT8", &[1, -1, -1, 3]), rows(Form::Pixels { planes: false }));
        assert_eq!(check("FP32", &[3, 32, 32]), Some((Form::Floats { planes: true }, vec![3, 32, 32])));
        assert_eq!(check("FP32", &[-1, 3, 32, 32]), Some((Form::Floats { planes: true }, vec![1, 3, 32, 32])));
        assert_eq!(check("BYTES", &[-1, 1]), None);
        assert_eq!(check("UINT8", &[-1, 31, 32, 3]), None);
        assert_eq!(check("INT64", &[-1, 32, 32, 3]), None);
    }

    #[test]
    fn only_a_whole_answer_is_one() {
        let reply = |id: Option<&str>, values: &[f32]| InferReply {
            model_name: "m".into(),
            model_version: None,
            id: id.map(str::to_owned),
            outputs: vec![Tensor::from_f32("y", &[1, values.len() as i64], values).unwrap()],
        };
        assert_eq!(usable(&reply(Some("f1"), &[0.5, 1.5]), "f1", 2).unwrap(), [0.5, 1.5]);
        assert!(usable(&reply(None, &[0.5, 1.5]), "f1", 2).is_ok(), "some servers forget the id");
        assert!(usable(&reply(Some("f2"), &[0.5, 1.5]), "f1", 2).is_err());
        assert!(usable(&reply(Some("f1"), &[0.5]), "f1", 2).is_err());
        assert!(usable(&reply(Some("f1"), &[0.5, f32::NAN]), "f1", 2).is_err());
        let text = Tensor::new("y", Datatype::Bytes, &[1], join_byte_elements(&["ab"]).unwrap()).unwrap();
        let other = InferReply { outputs: vec![text], ..reply(None, &[0.0]) };
        assert!(usable(&other, "f1", 2).unwrap_err().to_string().contains("BYTES"));
    }
}
