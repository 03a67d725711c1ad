use proptest::prelude::*;

use super::*;
use crate::protocol::join_byte_elements;

fn request(inputs: Vec<Tensor>) -> InferRequest {
    InferRequest { id: Some("f1".into()), inputs, ..InferRequest::default() }
}

fn header(body: &RestBody) -> Option<String> {
    body.json_bytes.map(|length| length.to_string())
}

fn decode(json: &str) -> Result<InferRequest, ProtocolError> {
    decode_request(&Bytes::copy_from_slice(json.as_bytes()), None)
}

#[test]
fn a_request_as_the_specification_shows_it() {
    let text = r#"{"id":"42","inputs":[{"name":"input0","shape":[2,2],"datatype":"UINT32","data":[1,2,3,4]},
        {"name":"input1","shape":[3],"datatype":"BOOL","data":[true,false,true]}],"outputs":[{"name":"output0"}]}"#;
    let request = decode(text).unwrap();
    assert_eq!(request.id.as_deref(), Some("42"));
    assert_eq!(&request.inputs[0].data()[..8], &[1, 0, 0, 0, 2, 0, 0, 0]);
    assert_eq!(&request.inputs[1].data()[..], &[1, 0, 1]);
    assert_eq!(request.outputs[0].name, "output0");
}

#[test]
fn a_reply_says_only_what_was_asked_in_binary() {
    let logits = Tensor::from_f32("logits", &[1, 2], &[1.5, -2.0]).unwrap();
    let reply = InferReply { model_name: "m".into(), model_version: None, id: Some("7".into()), outputs: vec![logits] };
    let plain = encode_reply(&reply, &request(vec![])).unwrap();
    assert_eq!(plain.json_bytes, None);
    assert_eq!(
        serde_json::from_slice::<Value>(&plain.bytes).unwrap(),
        json!({"model_name": "m", "id": "7",
            "outputs": [{"name": "logits", "shape": [1, 2], "datatype": "FP32", "data": [1.5, -2.0]}]})
    );
    let mut wanted = request(vec![]);
    wanted.outputs =
        vec![RequestedOutput { name: "logits".into(), parameters: [(BINARY_WANTED.to_owned(), true.into())].into() }];
    let binary = encode_reply(&reply, &wanted).unwrap();
    let json_bytes = binary.json_bytes.unwrap();
    assert_eq!(&binary.bytes[json_bytes..], [1.5f32.to_le_bytes(), (-2.0f32).to_le_bytes()].concat());
    assert_eq!(decode_reply(&binary.bytes, header(&binary).as_deref()).unwrap(), reply);
}

#[test]
fn replies_of_other_servers_are_understood() {
    // KServe: null where others say nothing; MLServer: content_type parameters and versions with a letter.
    let text = r#"{"model_name":"big","model_version":null,"id":"f1","parameters":null,
        "outputs":[{"name":"probs","shape":[1,2],"datatype":"FP32","parameters":{"content_type":"np"},"data":[[0.25,0.75]]}]}"#;
    let reply = decode_reply(&Bytes::from_static(text.as_bytes()), None).unwrap();
    assert_eq!(reply.outputs[0].f32_values().unwrap(), [0.25, 0.75]);
    assert_eq!(reply.model_version, None);
}

#[test]
fn what_contradicts_itself_is_refused() {
    let input = |rest: &str| format!(r#"{{"inputs":[{{"name":"x","shape":[2],"datatype":"UINT8"{rest}}}]}}"#);
    for text in [
        "",
        "{}",
        "[]",
        "{\"inputs\":3}",
        &input(""),
        &input(r#","data":[1]"#),
        &input(r#","data":[1,2,3]"#),
        &input(r#","data":[1,2],"parameters":{"binary_data_size":2}"#),
        &input(r#","parameters":{"binary_data_size":2}"#),
        &input(r#","parameters":{"binary_data_size":-1}"#),
        &input(r#","data":{"a":1}"#),
        r#"{"inputs":[{"name":"x","shape":[1],"datatype":"INT128","data":[1]}]}"#,
        r#"{"inputs":[{"name":"x","shape":[9223372036854775807,9223372036854775807],"datatype":"UINT8","data":[1]}]}"#,
    ] {
        assert!(decode(text).is_err(), "{text}");
    }
}

#[test]
fn whole_numbers_that_json_would_round_are_refused() {
    let one = |number: &str, datatype: &str| {
        decode(&format!(r#"{{"inputs":[{{"name":"x","shape":[1],"datatype":"{datatype}","data":[{number}]}}]}}"#))
    };
    assert!(one("9007199254740992", "INT64").is_ok() && one("-9007199254740992", "INT64").is_ok());
    // The last two are beyond 64 bits, where a JSON reader makes them floats.
    for number in ["9007199254740993", "-9007199254740993", "-9223372036854775809", "18446744073709551616"] {
        for datatype in ["INT64", "UINT64"] {
            assert!(one(number, datatype).is_err(), "{number} as {datatype}");
        }
    }
}

#[test]
fn a_header_length_that_lies_is_refused() {
    let tensor = Tensor::new("x", Datatype::Uint8, &[3], Bytes::from_static(&[1, 2, 3])).unwrap();
    let body = encode_request(&request(vec![tensor]), true).unwrap();
    let right = body.json_bytes.unwrap();
    assert!(decode_request(&body.bytes, Some(&right.to_string())).is_ok());
    for wrong in [
        "0".to_owned(),
        (right - 1).to_string(),
        (right + 1).to_string(),
        (body.bytes.len() + 1).to_string(),
        "-5".into(),
        "18446744073709551616".into(),
        String::new(),
        "abc".into(),
    ] {
        assert!(decode_request(&body.bytes, Some(&wrong)).is_err(), "{wrong}");
    }
    let longer = Bytes::from([&body.bytes[..], b"x"].concat());
    assert!(decode_request(&longer, Some(&right.to_string())).is_err(), "a byte too much");
}

proptest! {
    #[test]
    fn requests_come_back_in_both_forms(pixels in prop::collection::vec(any::<u8>(), 1..60), texts in prop::collection::vec(".{0,9}", 1..4), binary in any::<bool>()) {
        let axis = i64::try_from(pixels.len()).unwrap();
        let image = Tensor::new("image", Datatype::Uint8, &[1, axis], pixels.into()).unwrap();
        let names = Tensor::new("names", Datatype::Bytes, &[i64::try_from(texts.len()).unwrap()], join_byte_elements(&texts).unwrap()).unwrap();
        let request = request(vec![image, names]);
        let body = encode_request(&request, binary).unwrap();
        let back = decode_request(&body.bytes, header(&body).as_deref()).unwrap();
        prop_assert_eq!(back.inputs, request.inputs);
        prop_assert_eq!(back.id, request.id);
    }

    #[test]
    fn any_bytes_give_an_answer_or_an_error(body in prop::collection::vec(any::<u8>(), 0..300), length in prop::option::of(0usize..400)) {
        let body = Bytes::from(body);
        let length = length.map(|length| length.to_string());
        let _ = decode_request(&body, length.as_deref());
        let _ = decode_reply(&body, length.as_deref());
    }

    #[test]
    fn damage_gives_an_answer_or_an_error(at in any::<prop::sample::Index>(), value in any::<u8>(), binary in any::<bool>()) {
        let tensor = Tensor::new("x", Datatype::Uint8, &[3], Bytes::from_static(&[1, 2, 3])).unwrap();
        let body = encode_request(&request(vec![tensor]), binary).unwrap();
        let mut bytes = body.bytes.to_vec();
        *at.get_mut(&mut bytes[..]) = value;
        let _ = decode_request(&bytes.into(), header(&body).as_deref());
    }
}
