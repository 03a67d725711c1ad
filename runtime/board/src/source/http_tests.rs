use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use super::super::MonotonicClock;
use super::super::jpeg_stream::tests::jpeg;
use super::*;

/// Serves one connection on this machine; gives back the request's head.
fn serve(answer: impl FnOnce(&mut TcpStream) + Send + 'static) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) > 0 {
            head.push(byte[0]);
        }
        answer(&mut stream);
        String::from_utf8(head).unwrap()
    });
    (address.to_string(), server)
}

fn open(url: &str, timeout_ms: u64) -> Result<HttpSource<MonotonicClock>, Fault> {
    HttpSource::open(url, Duration::from_millis(timeout_ms), MonotonicClock)
}

fn all(source: &mut dyn Source) -> (Vec<Vec<u8>>, Fault) {
    let (mut frame, mut frames) = (FrameBuffer::default(), Vec::new());
    loop {
        match source.next(&mut frame, &mut Drops::default()) {
            Ok(Next::Frame) => {
                assert!(frame.captured_at.is_some());
                frames.push(frame.bytes.clone());
            }
            Ok(Next::Dropped(..)) => frames.push(Vec::new()),
            Ok(other) => panic!("{other:?}"),
            Err(fault) => return (frames, fault),
        }
    }
}

#[test]
fn a_chunked_multipart_stream_with_a_password() {
    let pictures = [jpeg(1), jpeg(2)];
    let sent = pictures.clone();
    let (address, server) = serve(move |stream| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=\"frame\"\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        for picture in &sent {
            let part =
                [format!("--frame\r\nContent-Length: {}\r\n\r\n", picture.len()).as_bytes(), picture, b"\r\n"].concat();
            for piece in part.chunks(100) {
                write!(stream, "{:x}\r\n", piece.len()).unwrap();
                stream.write_all(&[piece, b"\r\n"].concat()).unwrap();
            }
        }
        stream.write_all(b"0\r\n\r\n").unwrap();
    });
    let mut source = open(&format!("http://me:s%40cret@{address}/stream?x=1"), 5000).unwrap();
    let (frames, fault) = all(&mut source);
    assert_eq!((frames, fault.kind), (pictures.to_vec(), FaultKind::Ended));
    assert!(!fault.detail.contains("cret") && !source.description().contains("cret"), "{fault}");
    let head = server.join().unwrap().to_ascii_lowercase();
    assert!(head.starts_with("get /stream?x=1 ") && head.contains("authorization: basic bwu6c0bjcmv0"), "{head}");
}

#[test]
fn bare_pictures_and_a_cut_one() {
    let picture = jpeg(1);
    let sent = [&picture[..], &picture[..99]].concat();
    let (address, server) = serve(move |stream| {
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: video/x-motion-jpeg\r\nContent-Length: {}\r\n\r\n", sent.len());
        stream.write_all(&[head.as_bytes(), &sent].concat()).unwrap();
    });
    let (frames, fault) = all(&mut open(&format!("http://{address}/"), 5000).unwrap());
    assert_eq!((frames, fault.kind), (vec![picture, Vec::new()], FaultKind::Ended));
    server.join().unwrap();
}

#[test]
fn what_cannot_be_a_stream_says_so() {
    let check = |head: &'static str, kind: FaultKind, words: &str| {
        let (address, server) = serve(move |stream| stream.write_all(head.as_bytes()).unwrap());
        let fault = open(&format!("http://{address}/"), 5000).map(|_| ()).unwrap_err();
        assert!(fault.kind == kind && fault.detail.contains(words), "{head}: {fault:?}");
        server.join().unwrap();
    };
    check("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", FaultKind::Refused, "status 404");
    check("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", FaultKind::Refused, "NAME:PASSWORD");
    check("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n", FaultKind::Refused, "text/html");
    check("HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n", FaultKind::Refused, "single picture");
    check("HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace\r\n\r\n", FaultKind::Refused, "boundary");
    check("nonsense\r\n\r\n", FaultKind::Io, "http://127.0.0.1");
}

#[test]
fn nobody_there_and_nothing_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    assert_eq!(open(&format!("http://{address}/"), 5000).map(|_| ()).unwrap_err().kind, FaultKind::Gone);
    let (wait, waiting) = std::sync::mpsc::channel::<()>();
    let (address, server) = serve(move |stream| {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=b\r\n\r\n--b\r\n")
            .unwrap();
        // Until the test is over: a stalled camera keeps its connection.
        let _ = waiting.recv();
    });
    let (frames, fault) = all(&mut open(&format!("http://{address}/"), 100).unwrap());
    assert_eq!((frames.len(), fault.kind), (0, FaultKind::Timeout), "{fault}");
    drop(wait);
    server.join().unwrap();
}
