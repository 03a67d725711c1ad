//! CSI cameras of a Raspberry Pi. On current systems they are no plain V4L2 devices: the program `rpicam-vid` drives
//! sensor and image processor, and its MJPEG output is read from a pipe.

use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::mjpeg_file::next_of;
use super::{Clock, Drops, Fault, FaultKind, FrameBuffer, JpegSplitter, Next, Source, Split, StreamOptions};
use crate::system::poll;

/// The program, and what it was called before Pi OS of 2024.
const PROGRAMS: [&str; 2] = ["rpicam-vid", "libcamera-vid"];

/// So long a call waits for data.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Bytes kept of the program's last words.
const LAST_WORDS_BYTES: u64 = 4096;

/// The running program and its pipe.
pub struct RpicamSource<C> {
    child: Child,
    output: ChildStdout,
    complaints: Option<JoinHandle<()>>,
    last_words: Arc<Mutex<String>>,
    name: String,
    splitter: JpegSplitter,
    /// Read and not yet split.
    pending: Vec<u8>,
    used: usize,
    options: StreamOptions,
    last_data_at: Duration,
    frame_began_at: Option<Duration>,
    clock: C,
}

impl<C: Clock> RpicamSource<C> {
    /// Starts the program.
    ///
    /// # Errors
    /// It is not installed or cannot be started. A missing camera shows with the first call for a frame.
    pub fn open(camera: u32, options: StreamOptions, clock: C) -> Result<Self, Fault> {
        Self::start(&PROGRAMS, camera, options, clock)
    }

    fn start(programs: &[&str], camera: u32, options: StreamOptions, clock: C) -> Result<Self, Fault> {
        let name = format!("rpicam://{camera}");
        let mut child = spawn(programs, camera, options)
            .map_err(|what| Fault::new(FaultKind::Refused, format!("{name}: {what}")))?;
        let pipes = child.stdout.take().zip(child.stderr.take());
        let (output, errors) = pipes.ok_or_else(|| Fault::new(FaultKind::Io, format!("{name}: no pipe")))?;
        let last_words = Arc::new(Mutex::new(String::new()));
        let words = Arc::clone(&last_words);
        // Its pipe must be emptied, or the program stands still.
        let complaints = std::thread::spawn(move || {
            let mut errors = BufReader::new(errors);
            let mut line = Vec::new();
            while errors.by_ref().take(LAST_WORDS_BYTES).read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let text = String::from_utf8_lossy(&line).trim().to_owned();
                log::debug!("rpicam-vid: {text}");
                if !text.is_empty() {
                    *words.lock().unwrap_or_else(PoisonError::into_inner) = text;
                }
                line.clear();
            }
        });
        let last_data_at = clock.now();
        Ok(Self {
            child,
            output,
            complaints: Some(complaints),
            last_words,
            name,
            splitter: JpegSplitter::default(),
            pending: vec![0; 64 << 10],
            used: 0,
            options,
            last_data_at,
            frame_began_at: None,
            clock,
        }
        .with_empty_buffer())
    }

    fn with_empty_buffer(mut self) -> Self {
        self.pending.clear();
        self
    }

    /// Reads what the pipe holds; `false` if there is nothing within the poll interval.
    fn read(&mut self) -> Result<bool, Fault> {
        let fault = |error: &dyn std::fmt::Display| Fault::new(FaultKind::Io, format!("{}: {error}", self.name));
        if !poll(self.output.as_fd(), POLL_INTERVAL).map_err(|error| fault(&error))?.data {
            return Ok(false);
        }
        self.used = 0;
        self.pending.resize(64 << 10, 0);
        let read = match self.output.read(&mut self.pending) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return self.keep(0).map(|()| false),
            result => result.map_err(|error| fault(&error))?,
        };
        self.keep(read)?;
        if read == 0 {
            return Err(self.ended());
        }
        self.last_data_at = self.clock.now();
        Ok(true)
    }

    fn keep(&mut self, bytes: usize) -> Result<(), Fault> {
        self.pending.truncate(bytes);
        Ok(())
    }

    fn ended(&mut self) -> Fault {
        // Its output is closed: it is at its end, or does not deserve to live on.
        let _ = self.child.kill();
        let status = self.child.wait();
        if let Some(complaints) = self.complaints.take() {
            let _ = complaints.join();
        }
        let words = self.last_words.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        let hint = if words.to_ascii_lowercase().contains("no cameras") {
            "; look at the ribbon cable, and at `rpicam-hello --list-cameras`"
        } else {
            ""
        };
        Fault::new(FaultKind::Ended, format!("{}: rpicam-vid ended ({status}): {words}{hint}", self.name))
    }
}

fn spawn(programs: &[&str], camera: u32, options: StreamOptions) -> Result<Child, String> {
    let StreamOptions { size: (width, height), rate, .. } = options;
    for program in programs {
        let child = Command::new(program)
            .args(["--nopreview", "--timeout", "0", "--codec", "mjpeg", "--flush", "--output", "-"])
            .args(["--camera".into(), camera.to_string(), "--framerate".into(), rate.to_string()])
            .args(["--width".into(), width.to_string(), "--height".into(), height.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        match child {
            Ok(child) => return Ok(child),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{program}: {error}")),
        }
    }
    Err("the program rpicam-vid is not installed; on Raspberry Pi OS: apt install rpicam-apps-lite".into())
}

impl<C: Clock> Source for RpicamSource<C> {
    fn next(&mut self, frame: &mut FrameBuffer, _drops: &mut Drops) -> Result<Next, Fault> {
        frame.name.clone_from(&self.name);
        frame.set_jpeg();
        loop {
            let rest = self.pending.get(self.used..).unwrap_or_default();
            let was_inside = self.splitter.is_inside();
            let (used, split) = self.splitter.feed(rest, &mut frame.bytes);
            self.used += used;
            if !was_inside && (self.splitter.is_inside() || split == Split::Frame) {
                self.frame_began_at = Some(self.last_data_at);
            }
            if let Some(next) = next_of(split) {
                frame.captured_at = self.frame_began_at.or(Some(self.last_data_at));
                return Ok(next);
            }
            if !self.read()? {
                let timeout = self.options.timeout;
                if self.clock.now().saturating_sub(self.last_data_at) < timeout {
                    return Ok(Next::Idle);
                }
                let detail = format!("{}: rpicam-vid sent nothing for {:.1} s", self.name, timeout.as_secs_f64());
                return Err(Fault::new(FaultKind::Timeout, detail));
            }
        }
    }

    fn description(&self) -> String {
        let StreamOptions { size: (width, height), rate, .. } = self.options;
        format!("{}: MJPEG {width}x{height} at {rate} fps from rpicam-vid", self.name)
    }
}

impl<C> Drop for RpicamSource<C> {
    fn drop(&mut self) {
        // Both fail only where the program has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::MonotonicClock;
    use super::super::clock::tests::FakeClock;
    use super::super::jpeg_stream::tests::jpeg;
    use super::*;

    /// A program that does what `script` says, in place of rpicam-vid.
    fn fake(folder: &std::path::Path, script: &str) -> String {
        let path = folder.join("rpicam-vid");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn next(source: &mut dyn Source, frame: &mut FrameBuffer) -> Result<Next, Fault> {
        loop {
            match source.next(frame, &mut Drops::default()) {
                Ok(Next::Idle) => {}
                other => return other,
            }
        }
    }

    #[test]
    fn pictures_come_through_the_pipe_and_the_end_tells_why() {
        let folder = tempfile::tempdir().unwrap();
        let pictures = [jpeg(1), jpeg(2)];
        std::fs::write(folder.path().join("stream"), pictures.concat()).unwrap();
        let stream = folder.path().join("stream");
        let arguments = folder.path().join("arguments");
        let script = format!(
            "echo \"$@\" > {}; cat {}; echo 'ERROR: no cameras available' >&2; exit 255",
            arguments.display(),
            stream.display()
        );
        let program = fake(folder.path(), &script);
        let options = StreamOptions { size: (1280, 720), rate: 15.0, ..StreamOptions::default() };
        let mut source = RpicamSource::start(&["/no/such/program", &program], 1, options, MonotonicClock).unwrap();
        let mut frame = FrameBuffer::default();
        for picture in &pictures {
            assert_eq!(next(&mut source, &mut frame), Ok(Next::Frame));
            assert!(frame.bytes == *picture && frame.captured_at.is_some() && frame.name == "rpicam://1");
        }
        let fault = next(&mut source, &mut frame).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Ended);
        assert!(fault.detail.contains("no cameras available; look at the ribbon cable"), "{fault}");
        let arguments = std::fs::read_to_string(arguments).unwrap();
        assert!(
            arguments.contains("--codec mjpeg")
                && arguments.contains("--camera 1 --framerate 15 --width 1280 --height 720")
        );
    }

    #[test]
    fn a_program_that_sends_nothing_is_given_up_and_ended() {
        let folder = tempfile::tempdir().unwrap();
        let program = fake(folder.path(), "exec sleep 1000");
        let clock = Arc::new(FakeClock::default());
        let mut source = RpicamSource::start(&[&program], 0, StreamOptions::default(), Arc::clone(&clock)).unwrap();
        let mut frame = FrameBuffer::default();
        assert_eq!(source.next(&mut frame, &mut Drops::default()), Ok(Next::Idle));
        clock.wait(Duration::from_secs(6));
        let fault = source.next(&mut frame, &mut Drops::default()).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Timeout, "{fault}");
        let process = format!("/proc/{}", source.child.id());
        drop(source);
        assert!(!std::path::Path::new(&process).exists());
    }

    #[test]
    fn a_missing_program_says_what_to_install() {
        let fault = RpicamSource::start(&["/no/rpicam-vid"], 0, StreamOptions::default(), MonotonicClock)
            .map(|_| ())
            .unwrap_err();
        assert!(fault.kind == FaultKind::Refused && fault.detail.contains("apt install rpicam-apps"), "{fault}");
    }
}
