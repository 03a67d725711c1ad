//! The client and the server of this crate against each other, over real sockets of this machine.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tinysaver_core::route::{Route, RoutePolicy, Router};
use tinysaver_offload::client::{
    Client, EndpointOptions, EndpointUrl, Form, Patience, Question, RemoteAnswer, RemoteFailure, Transport,
};
use tinysaver_offload::pki::make_authority;
use tinysaver_offload::protocol::{Datatype, InferRequest, ModelMetadata, Tensor, TensorMetadata};
use tinysaver_offload::server::{ModelOffer, Server, ServerControl, ServerOptions, Worker, WorkerError};
use tinysaver_offload::tls::TlsFiles;

/// Two classes: the mean of the pixels, and whether they came as a photo. Takes `pause` for it.
struct Mean {
    photos: bool,
    pause: Duration,
}

impl Worker for Mean {
    fn infer(&mut self, request: &InferRequest) -> Result<Vec<Tensor>, WorkerError> {
        let input = &request.inputs[0];
        let bytes = match input.datatype() {
            Datatype::Bytes if self.photos => input.byte_elements().unwrap().next().unwrap().unwrap(),
            Datatype::Uint8 => input.data().clone(),
            other => return Err(WorkerError::Request(format!("no {}", other.name()))),
        };
        std::thread::sleep(self.pause);
        let mean = bytes.iter().map(|&byte| f32::from(byte)).sum::<f32>() / bytes.len().max(1) as f32;
        let photo = f32::from(u8::from(input.datatype() == Datatype::Bytes));
        Ok(vec![Tensor::from_f32("logits", &[1, 2], &[mean, photo]).unwrap()])
    }
}

fn offer(photos: bool, pause: Duration) -> ModelOffer {
    let tensor = |name: &str, datatype: &str, shape: &[i64]| TensorMetadata {
        name: name.into(),
        datatype: datatype.into(),
        shape: shape.to_vec(),
    };
    ModelOffer {
        faces: vec![ModelMetadata {
            name: "mean".into(),
            versions: None,
            platform: None,
            inputs: vec![tensor("image", "UINT8", &[-1, 4, 4, 3])],
            outputs: vec![tensor("logits", "FP32", &[-1, 2])],
        }],
        workers: vec![Box::new(Mean { photos, pause }), Box::new(Mean { photos, pause })],
    }
}

/// A server on a thread of its own.
struct Running {
    address: SocketAddr,
    control: ServerControl,
    thread: Option<std::thread::JoinHandle<usize>>,
}

impl Running {
    fn start(offer: ModelOffer, options: ServerOptions, port: u16) -> Self {
        let (sender, receiver) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let server = Server::bind(([127, 0, 0, 1], port).into(), vec![offer], options).await.unwrap();
                let (control, orders) = server.control();
                sender.send((server.address().unwrap(), control)).unwrap();
                server.run(orders).await
            })
        });
        let (address, control) = receiver.recv().unwrap();
        Self { address, control, thread: Some(thread) }
    }

    /// Ends it; says how many connections had to be cut.
    fn stop(mut self) -> usize {
        self.control.stop();
        self.thread.take().unwrap().join().unwrap()
    }
}

fn endpoint(url: &str, photos: bool) -> EndpointOptions {
    EndpointOptions {
        url: url.parse::<EndpointUrl>().unwrap(),
        model: "mean".into(),
        tls: TlsFiles::default(),
        token: None,
        photos,
        height: 4,
        width: 4,
        classes: 2,
        sample: Arc::new(|_| Bytes::from_static(&[7; 48])),
    }
}

fn client(options: EndpointOptions) -> Client {
    let router = Router::new(RoutePolicy::default(), &[0], false).with_unproven_servers();
    let client = Client::start(vec![options], router, Patience::default()).unwrap();
    client.wait_until_settled(Duration::from_secs(10));
    client
}

fn ask(client: &Client, sequence: u64, left: Duration) -> RemoteAnswer {
    let (sender, receiver) = mpsc::channel();
    let payload = Bytes::from(vec![u8::try_from(sequence % 256).unwrap(); 48]);
    let answer = Box::new(move |answer| sender.send(answer).unwrap());
    client.ask(0, Question { sequence, payload, deadline: Instant::now() + left, answer });
    receiver.recv().unwrap()
}

const LONG: Duration = Duration::from_secs(10);

/// Waits until frames are routed to the server again.
fn wait_for_route(client: &Client) {
    let started = Instant::now();
    while !matches!(client.route(LONG, 48), Route::Remote { .. }) {
        assert!(started.elapsed() < LONG, "the server does not come back");
        std::thread::yield_now();
    }
}

#[test]
fn the_first_way_that_works_is_kept() {
    for (photos_served, photos_allowed, scheme, transport, form) in [
        (true, true, "http", Transport::Grpc, Form::Photo),
        (true, true, "grpc", Transport::Grpc, Form::Photo),
        (false, true, "grpc", Transport::Grpc, Form::Pixels { planes: false }),
        (true, false, "http", Transport::Grpc, Form::Pixels { planes: false }),
    ] {
        let server = Running::start(offer(photos_served, Duration::ZERO), ServerOptions::default(), 0);
        let client = client(endpoint(&format!("{scheme}://{}", server.address), photos_allowed));
        let agreement = client.agreement(0).unwrap();
        assert_eq!((agreement.transport, agreement.form), (transport, form));
        for sequence in [3, 200] {
            let photo = f32::from(u8::from(form == Form::Photo));
            assert_eq!(ask(&client, sequence, LONG).unwrap(), [sequence as f32, photo]);
        }
        let counts = client.counts();
        assert_eq!((counts.asked, counts.answered), (2, 2));
        drop(client);
        assert_eq!(server.stop(), 0);
    }
}

#[test]
fn tls_on_both_sides_and_a_token() {
    let folder = tempfile::tempdir().unwrap();
    make_authority(folder.path(), &["127.0.0.1".to_owned()], 2036).unwrap();
    let files = |name: &str| TlsFiles {
        certificate: Some(folder.path().join(format!("{name}.pem"))),
        key: Some(folder.path().join(format!("{name}.key"))),
        authority: Some(folder.path().join("ca.pem")),
    };
    let options =
        ServerOptions { tls: Some(files("server")), token: Some("s3cret".into()), ..ServerOptions::default() };
    let server = Running::start(offer(true, Duration::ZERO), options, 0);
    let url = format!("https://{}", server.address);
    let with = |tls: TlsFiles, token: Option<&str>| {
        client(EndpointOptions { tls, token: token.map(str::to_owned), ..endpoint(&url, true) })
    };
    assert_eq!(ask(&with(files("board"), Some("s3cret")), 9, LONG).unwrap(), [9.0, 1.0]);
    let no_certificate = TlsFiles { certificate: None, key: None, ..files("board") };
    for (tls, token) in [(files("board"), None), (files("board"), Some("wrong")), (no_certificate, Some("s3cret"))] {
        let refused = with(tls, token);
        assert!(refused.agreement(0).is_none());
        assert!(!matches!(refused.route(LONG, 48), Route::Remote { .. }));
    }
    let stranger = tempfile::tempdir().unwrap();
    make_authority(stranger.path(), &["127.0.0.1".to_owned()], 2036).unwrap();
    let of_stranger = TlsFiles { authority: Some(stranger.path().join("ca.pem")), ..files("board") };
    assert!(with(of_stranger, Some("s3cret")).agreement(0).is_none(), "a server of an unknown authority");
    server.control.reload();
    assert_eq!(ask(&with(files("board"), Some("s3cret")), 10, LONG).unwrap(), [10.0, 1.0]);
    server.stop();
}

#[test]
fn a_late_answer_is_counted_and_goes_nowhere() {
    let server = Running::start(offer(true, Duration::from_millis(150)), ServerOptions::default(), 0);
    let client = client(endpoint(&format!("grpc://{}", server.address), true));
    assert_eq!(ask(&client, 1, Duration::from_millis(20)).unwrap_err(), RemoteFailure::Deadline);
    assert!(ask(&client, 2, LONG).is_ok(), "the connection goes on");
    let counts = client.counts();
    assert_eq!((counts.deadline, counts.answered), (1, 1));
    drop(client);
    server.stop();
}

#[test]
fn a_server_that_comes_back_is_found() {
    let server = Running::start(offer(true, Duration::ZERO), ServerOptions::default(), 0);
    let address = server.address;
    let client = client(endpoint(&format!("grpc://{address}"), true));
    assert!(ask(&client, 1, LONG).is_ok());
    server.stop();
    let mut failures = 0;
    while matches!(client.route(LONG, 48), Route::Remote { .. }) {
        assert!(matches!(ask(&client, 2, LONG), Err(RemoteFailure::Link(_))));
        failures += 1;
        assert!(failures <= RoutePolicy::default().breaker.failures);
    }
    let server = Running::start(offer(true, Duration::ZERO), ServerOptions::default(), address.port());
    wait_for_route(&client);
    assert!(ask(&client, 3, LONG).is_ok());
    server.stop();
}

#[test]
fn a_stopped_server_finishes_what_it_has_begun() {
    let server = Running::start(offer(true, Duration::from_millis(100)), ServerOptions::default(), 0);
    let client = client(endpoint(&format!("grpc://{}", server.address), true));
    let (sender, receiver) = mpsc::channel();
    let answer = Box::new(move |answer: RemoteAnswer| sender.send(answer).unwrap());
    client.ask(
        0,
        Question { sequence: 1, payload: Bytes::from_static(&[5; 48]), deadline: Instant::now() + LONG, answer },
    );
    // The answer to a second question shows that the first one is under way or done.
    assert!(ask(&client, 2, LONG).is_ok());
    assert_eq!(server.stop(), 0);
    assert_eq!(receiver.recv().unwrap().unwrap(), [5.0, 1.0]);
}
