//! Bodies of REST requests and replies, JSON with and without binary tensors behind it: a message or an error; what was
//! read, written again and read again, is the same.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tinysaver_offload::protocol::{InferReply, InferRequest, ProtocolError, rest};

/// The first line is the header that says how long the JSON is (empty: there is no such header), the rest the body.
fn header_and_body(data: &[u8]) -> Option<(Option<&str>, Bytes)> {
    let end = data.iter().position(|&byte| byte == b'\n')?;
    let (line, body) = data.split_at(end);
    let line = std::str::from_utf8(line).ok()?;
    Some(((!line.is_empty()).then_some(line), Bytes::copy_from_slice(&body[1..])))
}

fuzz_target!(|data: &[u8]| {
    let Some((header, body)) = header_and_body(data) else { return };
    if let Ok(request) = rest::decode_request(&body, header) {
        request_comes_back(&request);
    }
    if let Ok(reply) = rest::decode_reply(&body, header) {
        reply_comes_back(&reply);
    }
});

fn request_comes_back(request: &InferRequest) {
    for binary in [false, true] {
        // What has no JSON form (not a number, not UTF-8) may be refused.
        let Ok(written) = rest::encode_request(request, binary) else { continue };
        let length = written.json_bytes.map(|length| length.to_string());
        let Some(again) = read_again(rest::decode_request(&written.bytes, length.as_deref()), binary) else { continue };
        assert_eq!(again.id, request.id);
        assert_eq!(again.outputs.len(), request.outputs.len());
        // As bytes: a tensor may hold what is not equal to itself.
        let tensors = |request: &InferRequest| {
            request.inputs.iter().map(|t| (t.name().to_owned(), t.shape().to_vec(), t.data().clone())).collect::<Vec<_>>()
        };
        assert_eq!(tensors(&again), tensors(request));
    }
}

/// What was written is read; only whole numbers beyond 2^53, which came in bytes, are refused as JSON.
fn read_again<T>(read: Result<T, ProtocolError>, binary: bool) -> Option<T> {
    match read {
        Ok(message) => Some(message),
        Err(error) if !binary && error.to_string().contains("2^53") => None,
        Err(error) => panic!("what was written is not read: {error}"),
    }
}

fn reply_comes_back(reply: &InferReply) {
    let Ok(written) = rest::encode_reply(reply, &InferRequest::default()) else { return };
    let length = written.json_bytes.map(|length| length.to_string());
    let Some(again) = read_again(rest::decode_reply(&written.bytes, length.as_deref()), false) else { return };
    assert_eq!((again.id, again.model_name), (reply.id.clone(), reply.model_name.clone()));
    assert_eq!(again.outputs.len(), reply.outputs.len());
}
