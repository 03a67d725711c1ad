//! `tinysaver serve`: the base on another machine.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use tinysaver_board::DecodeLimits;
use tinysaver_offload::server::{Limits, ModelOffer, Server, ServerControl, ServerOptions};
use tinysaver_offload::tls::TlsFiles;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::KernelArgs;
use crate::failure::Failure;
use crate::offload::read_token;
use crate::pair::Pair;
use crate::serving::{Engines, offer};
use crate::threads::ThreadCount;

/// What a shell reports of a program that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// Arguments of `serve`.
#[derive(clap::Args)]
pub struct ServeArgs {
    /// The pair: a pair.toml or the folder that holds one
    #[arg(long, value_name = "PATH", env = "TINYSAVER_PAIR", default_value = "models/imagenet-lite")]
    pair: PathBuf,
    /// A model of the pair, by its id; may be repeated [default: the pair's base]
    #[arg(long = "model", value_name = "ID")]
    models: Vec<String>,
    /// Address and port for REST and gRPC; 0.0.0.0:8000 lets other machines in
    #[arg(long, value_name = "ADDRESS:PORT", env = "TINYSAVER_SERVE_LISTEN", default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
    /// Inferences at the same time, each with its own copy of the model [default: the machine's cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,
    /// Threads of one inference, 1 to 64, as far as no other inference has the cores [default: the machine's cores]
    #[arg(long, value_name = "N", env = "TINYSAVER_THREADS")]
    threads: Option<ThreadCount>,
    /// Requests that may wait for a worker, per model; further ones get 503 at once
    #[arg(long, value_name = "N", default_value_t = 64)]
    queue: usize,
    /// The longest that a request may wait and be computed, unless it asks for less
    #[arg(long, value_name = "MS", default_value_t = 2000)]
    max_wait_ms: u64,
    /// The largest body of a request
    #[arg(long, value_name = "BYTES", default_value_t = 16 << 20)]
    max_body_bytes: usize,
    /// Bodies of all requests together
    #[arg(long, value_name = "BYTES", default_value_t = 256 << 20)]
    max_memory_bytes: usize,
    /// Connections at one time; needs as many open files (`ulimit -n`)
    #[arg(long, value_name = "N", default_value_t = 1000)]
    max_connections: usize,
    /// For a TLS handshake, for the head of a request, and between two requests of an HTTP/1 connection
    #[arg(long, value_name = "MS", default_value_t = 30_000)]
    head_timeout_ms: u64,
    /// For the body of a request
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    body_timeout_ms: u64,
    /// After SIGTERM, for the requests in hand
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    drain_ms: u64,
    /// Refuse photos of more pixels than this
    #[arg(long, value_name = "N", env = "TINYSAVER_MAX_PIXELS", default_value_t = 64_000_000)]
    max_pixels: u64,
    #[command(flatten)]
    kernel: KernelArgs,
    /// TLS: the server's certificate (PEM); SIGHUP reads it again
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// TLS: its key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Mutual TLS: let in only clients with a certificate of this authority (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    client_ca: Option<PathBuf>,
    /// Let in only clients that send this file's first line as `authorization: Bearer ...`
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Serves until SIGTERM or Ctrl-C.
pub fn execute(args: &ServeArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let options = options(args).map_err(Failure::Config)?;
    let models = load(args).map_err(Failure::Config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(2).build()?;
    let cut = runtime.block_on(async {
        let names: Vec<String> =
            models.iter().flat_map(|model| model.faces.iter().map(|face| face.name.clone())).collect();
        let secure = options.tls.is_some();
        let closed = options.token.is_some() || options.tls.as_ref().is_some_and(|tls| tls.authority.is_some());
        let server = Server::bind(args.listen, models, options).await.map_err(Failure::config)?;
        let address = server.address()?;
        let guarded = address.ip().is_loopback() || (secure && closed);
        if !guarded {
            log::warn!("{address} is open to everybody in reach: see --tls-cert with --client-ca or --token-file");
        }
        let scheme = if secure { "https" } else { "http" };
        writeln!(out, "serving {} on {scheme}://{address} (REST and gRPC)", names.join(", "))?;
        out.flush()?;
        let (control, orders) = server.control();
        let signals = Signals::listen()?;
        tokio::spawn(signals.obey(control));
        Ok::<usize, Failure>(server.run(orders).await)
    })?;
    if cut > 0 {
        return Err(Failure::Run(anyhow::anyhow!("{cut} connections had to be cut after {} ms", args.drain_ms)));
    }
    writeln!(out, "stopped")?;
    Ok(())
}

fn options(args: &ServeArgs) -> Result<ServerOptions> {
    let tls = args.tls_cert.is_some().then(|| TlsFiles {
        certificate: args.tls_cert.clone(),
        key: args.tls_key.clone(),
        authority: args.client_ca.clone(),
    });
    let milliseconds = Duration::from_millis;
    Ok(ServerOptions {
        limits: Limits {
            max_body_bytes: args.max_body_bytes,
            max_memory_bytes: args.max_memory_bytes,
            max_connections: args.max_connections,
            head_timeout: milliseconds(args.head_timeout_ms),
            body_timeout: milliseconds(args.body_timeout_ms),
            queue_length: args.queue,
            max_queue_wait: milliseconds(args.max_wait_ms),
            drain: milliseconds(args.drain_ms),
        },
        tls,
        token: args.token_file.as_deref().map(read_token).transpose()?,
    })
}

fn load(args: &ServeArgs) -> Result<Vec<ModelOffer>> {
    let path = if args.pair.is_dir() { args.pair.join("pair.toml") } else { args.pair.clone() };
    let pair = Pair::read(&path)?;
    let cores = ThreadCount::of_cores();
    let workers = args.workers.map_or(cores.get(), usize::from);
    let limits = DecodeLimits { max_pixels: args.max_pixels };
    let default = [pair.base(None)?.id.clone()];
    let ids = if args.models.is_empty() { &default[..] } else { &args.models };
    // All models and workers share them.
    let threads = args.threads.unwrap_or(cores).start(workers * ids.len())?;
    let engines = Engines { workers, kernel: args.kernel.choice(), threads };
    ids.iter().map(|id| offer(&pair, pair.base(Some(id))?, &engines, limits)).collect()
}

struct Signals {
    stop: [Signal; 2],
    reload: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            stop: [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?],
            reload: signal(SignalKind::hangup())?,
        })
    }

    /// The first signal to stop drains, the second one leaves at once.
    async fn obey(self, control: ServerControl) {
        let Self { stop: [mut terminate, mut interrupt], mut reload } = self;
        let mut stopping = false;
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = reload.recv() => {
                    control.reload();
                    continue;
                }
            }
            if std::mem::replace(&mut stopping, true) {
                std::process::exit(INTERRUPTED);
            }
            control.stop();
        }
    }
}
