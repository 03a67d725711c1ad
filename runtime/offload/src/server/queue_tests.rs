use std::sync::mpsc;

use super::*;

/// Waits for a word before each answer; a closed channel means panic.
struct Gate(mpsc::Receiver<Result<(), WorkerError>>);

impl Worker for Gate {
    fn infer(&mut self, _: &InferRequest) -> Result<Vec<Tensor>, WorkerError> {
        self.0.recv().expect("closed").map(|()| Vec::new())
    }
}

fn queue(length: usize) -> (Queue, mpsc::Sender<Result<(), WorkerError>>) {
    let (open, gate) = mpsc::channel();
    (Queue::start("test", vec![Box::new(Gate(gate))], length).unwrap(), open)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn late() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

#[test]
fn results_and_failures_reach_their_askers() {
    let (queue, open) = queue(4);
    open.send(Ok(())).unwrap();
    open.send(Err(WorkerError::Request("no".into()))).unwrap();
    block_on(async {
        assert!(queue.run(InferRequest::default(), late()).await.is_ok());
        assert_eq!(queue.run(InferRequest::default(), late()).await.unwrap_err(), Failure::Request("no".into()));
    });
}

#[test]
fn a_full_queue_says_so_at_once() {
    let (queue, open) = queue(2);
    block_on(async {
        let ask = || queue.run(InferRequest::default(), late());
        // One is with the worker at some time, so that of four at least one finds the queue full.
        let (a, b, c, d) = tokio::join!(ask(), ask(), ask(), async {
            let refused = ask().await;
            (0..3).for_each(|_| open.send(Ok(())).unwrap());
            refused
        });
        let all = [a, b, c, d];
        let busy = all.iter().filter(|result| matches!(result, Err(Failure::Busy(_)))).count();
        assert!((1..=2).contains(&busy), "{all:?}");
        assert_eq!(all.iter().filter(|result| result.is_ok()).count() + busy, 4, "{all:?}");
    });
}

#[test]
fn nobody_computes_for_somebody_who_has_left() {
    let (queue, open) = queue(4);
    block_on(async {
        let soon = Instant::now() + Duration::from_millis(20);
        let late_one = queue.run(InferRequest::default(), soon).await;
        assert_eq!(late_one.unwrap_err(), Failure::Deadline);
        let passed = queue.run(InferRequest::default(), Instant::now()).await;
        assert!(passed.is_err());
        // The first is still with the worker, the second never gets there: two words are enough for the next asker.
        open.send(Ok(())).unwrap();
        open.send(Ok(())).unwrap();
        assert!(queue.run(InferRequest::default(), late()).await.is_ok());
    });
    assert_eq!(queue.waiting(), 0);
}

#[test]
fn a_panic_costs_one_request() {
    let (queue, open) = queue(4);
    drop(open);
    block_on(async {
        for _ in 0..2 {
            let failed = queue.run(InferRequest::default(), late()).await;
            assert_eq!(failed.unwrap_err(), Failure::Model("it panicked".into()));
        }
    });
}
