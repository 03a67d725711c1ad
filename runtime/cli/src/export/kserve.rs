//! A KServe manifest for the exported Triton repository.

/// An `InferenceService` that serves what lies at `storage_uri`, as KServe's Triton runtime does.
pub fn manifest(model_id: &str, storage_uri: &str) -> String {
    let name = service_name(model_id);
    // JSON strings are YAML strings.
    let storage_uri = serde_json::Value::from(storage_uri);
    format!(
        r#"# Upload the folder that `tinysaver export --triton` wrote to storageUri, then: kubectl apply -f THIS_FILE
# Boards: tinysaver run --offload http://HOST/{model_id}   (photos go to {model_id}_jpeg by themselves)
# {model_id}_jpeg needs Pillow in Triton's image: FROM nvcr.io/nvidia/tritonserver:YY.MM-py3, RUN pip install pillow,
# named by a ServingRuntime of your own; without it the repository still serves floats, and Triton reports {model_id}_preprocess.
# For gRPC: protocolVersion: grpc-v2, and ports [{{containerPort: 9000, name: h2c, protocol: TCP}}].
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: {name}
spec:
  predictor:
    minReplicas: 1
    maxReplicas: 4
    model:
      modelFormat:
        name: triton
      protocolVersion: v2
      storageUri: {storage_uri}
      resources:
        requests:
          cpu: "2"
          memory: 2Gi
        limits:
          memory: 4Gi
"#
    )
}

/// A DNS label: lower case, digits and hyphens, at most 50 of them so that KServe's own endings fit behind it.
fn service_name(model_id: &str) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' };
    let name: String = model_id.chars().map(plain).take(50).collect();
    let name = name.trim_matches('-');
    if name.starts_with(|letter: char| letter.is_ascii_lowercase()) { name.to_owned() } else { format!("m-{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        for (id, name) in
            [("lite2-260-f32", "lite2-260-f32"), ("My_Model.V2", "my-model-v2"), ("2d", "m-2d"), ("_x_", "x")]
        {
            assert_eq!(service_name(id), name);
        }
    }

    #[test]
    fn a_storage_uri_cannot_break_out_of_its_string() {
        let text = manifest("m", "s3://a\"\nkind: Secret");
        assert!(text.contains(r#"storageUri: "s3://a\"\nkind: Secret""#), "{text}");
    }
}
