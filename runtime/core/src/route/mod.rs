//! Where an escalated frame goes: to a base on another machine, to the one on this board, or nowhere, so that the saver's
//! answer stands, marked degraded.
//!
//! Pure: times are handed in as durations since some start, chance as numbers in 0..1. The same course of events gives
//! the same decisions, bit for bit.

mod breaker;
mod bucket;
mod link;
mod pending;
mod priced;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use breaker::{Breaker, BreakerPolicy, BreakerState, Change};
pub use bucket::TokenBucket;
pub use link::LinkEstimate;
pub use pending::{Action, Event, PendingFrame};
pub use priced::RoutePrices;

use priced::REVISIT;

/// Why the base was wanted and did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Degraded {
    /// No base would have answered, or did answer, in time.
    Deadline,
    /// No server could be reached, or the connection broke.
    Link,
    /// The server refused, or answered nonsense.
    Server,
    /// Too many requests are under way.
    Busy,
    /// The budget of bytes or requests is used up.
    Budget,
    /// The base on this board failed.
    Local,
}

impl Degraded {
    /// Every reason.
    pub const ALL: [Self; 6] = [Self::Deadline, Self::Link, Self::Server, Self::Busy, Self::Budget, Self::Local];

    /// The name in logs, metrics and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Link => "link",
            Self::Server => "server",
            Self::Busy => "busy",
            Self::Budget => "budget",
            Self::Local => "local",
        }
    }
}

/// What to do with a frame of which the saver is not sure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Ask a server.
    Remote {
        /// Which: its place in the list that the router was made with.
        endpoint: usize,
        /// If it has not answered after this, start the local base as well; the first answer counts.
        hedge_after: Option<Duration>,
    },
    /// Ask the base on this board.
    Local,
    /// Let the saver's answer stand.
    Saver(Degraded),
}

/// A frame that wants a base.
#[derive(Debug, Clone, Copy)]
pub struct Escalation {
    /// Now.
    pub now: Duration,
    /// Until its answer is of no use any more.
    pub left: Duration,
    /// What would go over the network.
    pub bytes: u64,
}

/// How a request to a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoteEnd {
    /// An answer that could be used, in time or late.
    Answered {
        /// From the first byte sent to the last one received.
        round_trip: Duration,
        /// What went over the network, both ways.
        bytes: u64,
    },
    /// No answer, and nobody waits any longer.
    Silent,
    /// The connection could not be made, or broke.
    Link,
    /// A refusal, or nonsense.
    Server,
    /// It was not asked after all, or its answer is not wanted any more: says nothing of the server.
    Cancelled,
}

/// The rules.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RoutePolicy {
    /// When to leave a server alone, and for how long.
    pub breaker: BreakerPolicy,
    /// Requests that one server may have at the same time.
    pub max_in_flight: u32,
    /// A server that seems too slow is given a frame this often all the same, to see whether it still is.
    pub explore_interval: Duration,
}

impl Default for RoutePolicy {
    fn default() -> Self {
        Self { breaker: BreakerPolicy::default(), max_in_flight: 4, explore_interval: Duration::from_secs(1) }
    }
}

#[derive(Debug, Clone)]
struct Endpoint {
    priority: u32,
    link: LinkEstimate,
    breaker: Breaker,
    in_flight: u32,
    explored_at: Option<Duration>,
    asked_at: Option<Duration>,
}

/// What is known of all bases.
#[derive(Debug, Clone)]
pub struct Router {
    policy: RoutePolicy,
    endpoints: Vec<Endpoint>,
    /// Places in `endpoints`, the most wanted first.
    order: Vec<usize>,
    bytes: Option<TokenBucket>,
    requests: Option<TokenBucket>,
    local: Option<LinkEstimate>,
    prices: Option<RoutePrices>,
}

impl Router {
    /// `priorities` has one number a server, the lowest is asked first; `local_base` says whether this board has a base
    /// of its own.
    #[must_use]
    pub fn new(policy: RoutePolicy, priorities: &[u32], local_base: bool) -> Self {
        let endpoints: Vec<Endpoint> = priorities
            .iter()
            .map(|&priority| Endpoint {
                priority,
                link: LinkEstimate::default(),
                breaker: Breaker::new(policy.breaker),
                in_flight: 0,
                explored_at: None,
                asked_at: None,
            })
            .collect();
        let mut order: Vec<usize> = (0..endpoints.len()).collect();
        order.sort_by_key(|&index| endpoints.get(index).map(|endpoint| endpoint.priority));
        let local = local_base.then(LinkEstimate::default);
        Self { policy, endpoints, order, bytes: None, requests: None, local, prices: None }
    }

    /// No server gets a frame before a try has shown that it answers.
    #[must_use]
    pub fn with_unproven_servers(mut self) -> Self {
        for endpoint in &mut self.endpoints {
            endpoint.breaker = Breaker::unproven(self.policy.breaker);
        }
        self
    }

    /// Limits what goes over the network.
    #[must_use]
    pub fn with_budget(mut self, bytes: Option<TokenBucket>, requests: Option<TokenBucket>) -> Self {
        (self.bytes, self.requests) = (bytes, requests);
        self
    }

    /// Of the ways that would be in time, the cheapest is taken; without prices, the first server before the local base.
    #[must_use]
    pub fn with_prices(mut self, prices: Option<RoutePrices>) -> Self {
        self.prices = prices;
        self
    }

    /// Decides for one frame. A remote route counts as under way until [`Router::remote_ended`] is told of its end.
    pub fn route(&mut self, frame: &Escalation) -> Route {
        let found = self.find_remote(frame);
        if let (Ok(endpoint), Some(prices)) = (found, &self.prices)
            && self.is_local_cheaper(endpoint, frame, prices)
        {
            return Route::Local;
        }
        match found.and_then(|endpoint| self.take_remote(endpoint, frame)) {
            Ok(endpoint) => Route::Remote { endpoint, hedge_after: self.hedge_after(endpoint, frame) },
            Err(_) if self.local_fits(frame.left) => Route::Local,
            // A base of our own that is too slow is the last hope that failed.
            Err(_) if self.local.is_some() => Route::Saver(Degraded::Deadline),
            Err(reason) => Route::Saver(reason),
        }
    }

    /// The server to ask, if one can be: with prices the cheapest, and before it one of which too little is known.
    fn find_remote(&self, frame: &Escalation) -> Result<usize, Degraded> {
        let mut reason = Degraded::Link;
        let mut cheapest: Option<(usize, f64)> = None;
        for &index in &self.order {
            let Some(endpoint) = self.endpoints.get(index) else { continue };
            if let Some(why) = endpoint.refuses(frame, &self.policy) {
                reason = if reason == Degraded::Link { why } else { reason };
                continue;
            }
            let price = self.prices.as_ref().and_then(|prices| endpoint.price(frame, prices));
            let Some(price) = price else { return Ok(index) };
            if cheapest.is_none_or(|(_, least)| price < least) {
                cheapest = Some((index, price));
            }
        }
        cheapest.map(|(index, _)| index).ok_or(reason)
    }

    /// A local base that has not run yet is tried: otherwise its price would never be known.
    fn is_local_cheaper(&self, endpoint: usize, frame: &Escalation, prices: &RoutePrices) -> bool {
        let remote = self.endpoints.get(endpoint).and_then(|endpoint| endpoint.price(frame, prices));
        let (Some(remote), Some(local), true) = (remote, &self.local, self.local_fits(frame.left)) else {
            return false;
        };
        local.expected(0).is_none_or(|takes| prices.local(takes) < remote)
    }

    fn take_remote(&mut self, index: usize, frame: &Escalation) -> Result<usize, Degraded> {
        if !self.take_budget(frame) {
            return Err(Degraded::Budget);
        }
        if let Some(endpoint) = self.endpoints.get_mut(index) {
            endpoint.in_flight += 1;
            endpoint.asked_at = Some(frame.now);
            if !endpoint.in_time(frame) {
                endpoint.explored_at = Some(frame.now);
            }
        }
        Ok(index)
    }

    /// Both or none.
    fn take_budget(&mut self, frame: &Escalation) -> bool {
        let enough = |bucket: &mut Option<TokenBucket>, amount: u64| {
            bucket.as_mut().is_none_or(|bucket| bucket.holds(frame.now, amount))
        };
        if !enough(&mut self.bytes, frame.bytes) || !enough(&mut self.requests, 1) {
            return false;
        }
        for (bucket, amount) in [(&mut self.bytes, frame.bytes), (&mut self.requests, 1)] {
            if let Some(bucket) = bucket {
                bucket.take(frame.now, amount);
            }
        }
        true
    }

    /// When to start the local base beside a server: when the server is later than 19 of 20 of its answers were, but
    /// early enough for the local base to be in time.
    fn hedge_after(&self, endpoint: usize, frame: &Escalation) -> Option<Duration> {
        let local_needs = self.local.as_ref()?.expected(0).unwrap_or_default();
        let latest = frame.left.checked_sub(local_needs)?;
        let slow = self.endpoints.get(endpoint)?.link.percentile_95().unwrap_or(latest);
        Some(slow.min(latest))
    }

    /// Whether the base on this board exists and would be in time, by the runs it has had.
    #[must_use]
    pub fn local_fits(&self, left: Duration) -> bool {
        self.local.as_ref().is_some_and(|local| local.expected(0).is_none_or(|needs| needs <= left))
    }

    /// Notes what the local base took.
    pub fn local_took(&mut self, took: Duration) {
        if let Some(local) = &mut self.local {
            local.observe(took, 0);
        }
    }

    /// Notes how a request ended; `random` in 0..1 spreads the retries of many boards. Says whether the server's state
    /// changed by it.
    pub fn remote_ended(&mut self, endpoint: usize, now: Duration, end: RemoteEnd, random: f64) -> Option<Change> {
        let endpoint = self.endpoints.get_mut(endpoint)?;
        endpoint.in_flight = endpoint.in_flight.saturating_sub(1);
        match end {
            RemoteEnd::Answered { round_trip, bytes } => {
                endpoint.link.observe(round_trip, bytes);
                endpoint.breaker.succeeded()
            }
            RemoteEnd::Silent | RemoteEnd::Link | RemoteEnd::Server => endpoint.breaker.failed(now, random),
            RemoteEnd::Cancelled => None,
        }
    }

    /// When the server, which is being left alone, should be tried again: not with a frame but with a question of its
    /// own. `None` while it may be asked, or is being tried.
    #[must_use]
    pub fn retry_at(&self, endpoint: usize) -> Option<Duration> {
        self.endpoints.get(endpoint).and_then(|endpoint| endpoint.breaker.retry_at())
    }

    /// A try begins.
    pub fn trying(&mut self, endpoint: usize, now: Duration) -> bool {
        self.endpoints.get_mut(endpoint).is_some_and(|endpoint| endpoint.breaker.try_again(now))
    }

    /// A try has ended well or not.
    pub fn tried(&mut self, endpoint: usize, now: Duration, well: bool, random: f64) -> Option<Change> {
        let endpoint = self.endpoints.get_mut(endpoint)?;
        if well { endpoint.breaker.succeeded() } else { endpoint.breaker.failed(now, random) }
    }

    /// The state of a server.
    #[must_use]
    pub fn state(&self, endpoint: usize) -> Option<BreakerState> {
        self.endpoints.get(endpoint).map(|endpoint| endpoint.breaker.state())
    }

    /// What is known of the way to a server.
    #[must_use]
    pub fn link(&self, endpoint: usize) -> Option<&LinkEstimate> {
        self.endpoints.get(endpoint).map(|endpoint| &endpoint.link)
    }
}

impl Endpoint {
    /// Why it cannot take a frame.
    fn refuses(&self, frame: &Escalation, policy: &RoutePolicy) -> Option<Degraded> {
        if self.breaker.state() != BreakerState::Closed {
            return Some(Degraded::Link);
        }
        if self.in_flight >= policy.max_in_flight {
            return Some(Degraded::Busy);
        }
        let explore = self.explored_at.is_none_or(|at| frame.now >= at + policy.explore_interval);
        (!self.in_time(frame) && !explore).then_some(Degraded::Deadline)
    }

    /// What asking it will probably cost; `None` where nobody knows, or has not looked for a while.
    fn price(&self, frame: &Escalation, prices: &RoutePrices) -> Option<f64> {
        let is_recent = self.asked_at.is_some_and(|at| frame.now < at + REVISIT);
        let takes = self.link.expected(frame.bytes).filter(|_| is_recent)?;
        Some(prices.remote(takes, frame.bytes))
    }

    fn in_time(&self, frame: &Escalation) -> bool {
        self.link.cautious(frame.bytes).is_none_or(|needs| needs <= frame.left)
    }
}

#[cfg(test)]
mod tests;
