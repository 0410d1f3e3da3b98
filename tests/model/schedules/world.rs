//! One schedule as it runs: nodes, control nodes, the broker between them, and what must hold all the time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mediagate::feed::nats::{NatsBroker, NatsFeed};
use mediagate::feed::redis::{RedisBroker, RedisFeed};
use mediagate::feed::wire::Position;
use mediagate::feed::{FeedError, Following, RestrictionFeed};
use mediagate::metrics::Metrics;
use mediagate::relay::{RelayTimes, relay};
use mediagate::restrictions::{Effect, Event, RestrictionSet};
use mediagate::store::{Location, Store, Wanted};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};

use super::broker::{Broker, Kind, nats_options, redis_options, tamper};
use super::proxy::{Flow, Proxy};
use super::schedule::{End, Random, Schedule, Step, Wish};
use super::truth::{Truth, check, slot, uid_case};

const TIMES: RelayTimes = RelayTimes {
    beat: Duration::from_millis(50),
    lease: Duration::from_millis(300),
    poll: Duration::from_millis(20),
    step: Duration::from_secs(10),
};

/// A node that has heard nothing for so long answers 503.
const MAX_STALENESS: Duration = Duration::from_millis(500);

/// How long after its acknowledgement a restriction may be unknown to a node that is not stale: the oldest word that
/// it may go by, and the time that words take on their way.
const BOUND: Duration = Duration::from_secs(4);

/// How often what must hold all the time is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How often the database is asked whether everything has come right.
const ASK_EVERY: Duration = Duration::from_millis(60);

/// The longest that one look after another counts as time: more is a machine that has other things to do.
const LOOK_LATEST: Duration = Duration::from_millis(60);

/// How long nodes may believe what somebody has written who should not.
const HEALING: Duration = Duration::from_millis(300);

/// Whatever has not come right by then never will.
const DEADLINE: Duration = Duration::from_secs(60);

/// The same where something is wrong on purpose.
const FAULT_DEADLINE: Duration = Duration::from_secs(5);

/// What is wrong with a node on purpose, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// The feed of the first node drops every change that restricts somebody.
    LosesImposed,
    /// The feed of the first node drops every change that lifts something.
    LosesLifted,
}

struct Node {
    set: Arc<RestrictionSet>,
    proxy: Proxy,
    task: JoinHandle<FeedError>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Control {
    proxy: Proxy,
    running: Option<(Store, JoinHandle<()>)>,
}

impl Control {
    fn kill(&mut self) {
        if let Some((_, relay)) = self.running.take() {
            relay.abort();
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A restriction that every node must know by now, or soon.
struct Duty {
    /// As far as it goes: the time of an `issued_before`.
    before: u64,
    /// By the clock of each node.
    since: Vec<Duration>,
}

/// What is looked at all the time.
struct Watched {
    sets: Vec<Arc<RestrictionSet>>,
    /// A clock for each node. It stands while words to it may be held back on their way.
    clocks: Vec<Duration>,
    /// When each node first heard its feed: its first state counts as heard however old it is.
    hearing: Vec<Option<Duration>>,
    held_back: BTreeMap<String, Option<usize>>,
    healing: Option<Instant>,
    looked: Instant,
    duties: BTreeMap<usize, Duty>,
    violation: Option<String>,
}

impl Watched {
    fn look(&mut self) {
        let now = Instant::now();
        let passed = (now - self.looked).min(LOOK_LATEST);
        self.looked = now;
        let heals = self.healing.is_some_and(|until| now < until);
        let is_held = |node: usize| self.held_back.values().any(|held| held.is_none_or(|held| held == node));
        let runs: Vec<bool> = (0..self.sets.len()).map(|node| !heals && !is_held(node)).collect();
        for (node, set) in self.sets.iter().enumerate() {
            if runs[node] {
                self.clocks[node] += passed;
            }
            let Some(age) = set.age(now).filter(|age| *age <= MAX_STALENESS) else { continue };
            let hearing = *self.hearing[node].get_or_insert(self.clocks[node]);
            for (number, duty) in &self.duties {
                let known_for = self.clocks[node].saturating_sub(duty.since[node].max(hearing));
                if known_for <= BOUND {
                    continue;
                }
                let (scope, effect) = slot(*number, duty.before);
                let issued_at = if effect == Effect::Deactivated { u64::MAX } else { duty.before - 1 };
                if check(set, &scope, Some(issued_at)).is_ok() && self.violation.is_none() {
                    self.violation = Some(format!(
                        "node {node} accepts {scope:?} against {effect:?}, acknowledged {known_for:?} ago by its \
                         clock; its feed was heard {age:?} ago, and it is at {}",
                        set.applied()
                    ));
                }
            }
        }
    }
}

pub(super) struct World {
    kind: Kind,
    fault: Fault,
    location: Location,
    _dir: Option<TempDir>,
    broker: Arc<Mutex<Broker>>,
    port: u16,
    nodes: Vec<Node>,
    controls: Vec<Control>,
    started: usize,
    store: Store,
    random: Random,
    watched: Arc<Mutex<Watched>>,
    watching: JoinHandle<()>,
    begun: Instant,
    log: Vec<String>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs what `seed` stands for. Returns how many changes there were.
pub(super) async fn run(
    kind: Kind,
    location: Option<Location>,
    seed: u64,
    schedule: Schedule,
    fault: Fault,
) -> Result<u64, String> {
    let mut world = World::start(kind, location, seed, &schedule, fault).await;
    world.note(format!("{} nodes, {} control nodes", schedule.nodes, schedule.controls));
    // What a node loads is no change that could be lost.
    while fault != Fault::None && world.wrong().await.is_some() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let begun = Instant::now();
    for (at, step) in schedule.steps {
        tokio::time::sleep_until((begun + at).into()).await;
        world.take(step).await;
    }
    let ended = world.calm().await;
    ended.map_err(|what| {
        format!(
            "seed {seed} over {kind:?}: {what}\nto replay it: MEDIAGATE_MODEL_SEED={seed} cargo test --test model\n{}",
            world.log.join("\n")
        )
    })
}

impl World {
    async fn start(kind: Kind, location: Option<Location>, seed: u64, schedule: &Schedule, fault: Fault) -> World {
        let (location, dir) = match location {
            Some(location) => (location, None),
            None => {
                // In memory where that is possible: what a disk does is not tried here.
                let shm = PathBuf::from("/dev/shm");
                let dir = if shm.is_dir() { TempDir::new_in(shm) } else { TempDir::new() }.expect("a folder");
                (Location::Sqlite(dir.path().join("mediagate.db")), Some(dir))
            }
        };
        let store = Store::open(&location).await.expect("a store");
        let broker = spawn_blocking(move || Broker::start(kind)).await.expect("a broker");
        let port = broker.port();
        let watched = Arc::new(Mutex::new(Watched {
            sets: Vec::new(),
            clocks: vec![Duration::ZERO; schedule.nodes],
            hearing: vec![None; schedule.nodes],
            held_back: BTreeMap::new(),
            healing: None,
            looked: Instant::now(),
            duties: BTreeMap::new(),
            violation: None,
        }));
        let mut world = World {
            kind,
            fault,
            location,
            _dir: dir,
            broker: Arc::new(Mutex::new(broker)),
            port,
            nodes: Vec::new(),
            controls: Vec::new(),
            started: 0,
            store,
            random: Random::new(!seed),
            watching: tokio::spawn(watch_over(Arc::clone(&watched))),
            watched,
            begun: Instant::now(),
            log: Vec::new(),
        };
        for number in 0..schedule.controls {
            world.controls.push(Control { proxy: Proxy::open(port).await, running: None });
            world.start_control(number).await;
        }
        for number in 0..schedule.nodes {
            let node = world.new_node(number).await;
            lock(&world.watched).sets.push(Arc::clone(&node.set));
            world.nodes.push(node);
        }
        world
    }

    fn note(&mut self, text: String) {
        self.log.push(format!("{:6} ms  {text}", self.begun.elapsed().as_millis()));
    }

    async fn new_node(&self, number: usize) -> Node {
        let proxy = Proxy::open(self.port).await;
        let mut key = [0; 16];
        aws_lc_rs::rand::fill(&mut key).expect("randomness");
        let key = u128::from_ne_bytes(key);
        let set = Arc::new(RestrictionSet::new([key as u64, (key >> 64) as u64], Instant::now()));
        let fault = if number == 0 { self.fault } else { Fault::None };
        let task = tokio::spawn(follow(self.kind, proxy.port, Arc::clone(&set), fault));
        Node { set, proxy, task }
    }

    async fn start_control(&mut self, number: usize) {
        if self.controls[number].running.is_some() {
            return;
        }
        let store = Store::open(&self.location).await.expect("a store");
        self.started += 1;
        let holder = format!("control-{}", self.started);
        let (kind, port, of_relay) = (self.kind, self.controls[number].proxy.port, store.clone());
        let relay = tokio::spawn(async move {
            match kind {
                Kind::Redis => {
                    let broker = RedisBroker::new(&redis_options(port)).expect("good options");
                    relay(of_relay, broker, &holder, TIMES).await;
                }
                Kind::Nats => {
                    let broker = NatsBroker::connect(&nats_options(port)).await.expect("accepted");
                    relay(of_relay, broker, &holder, TIMES).await;
                }
            }
        });
        self.controls[number].running = Some((store, relay));
    }

    async fn take(&mut self, step: Step) {
        self.note(format!("{step:?}"));
        match step {
            Step::Change { control, wishes } => self.change(control, wishes).await,
            Step::ChangeAndDie { control, wish } => {
                let Some((store, _)) = &self.controls[control].running else { return };
                let store = store.clone();
                let wanted = vec![wanted(wish)];
                // Whatever becomes of it: nobody was told that it is in force, or that it is not any more.
                let (Wish::Lift(number) | Wish::Impose(number, _)) = wish;
                lock(&self.watched).duties.remove(&number);
                let call = tokio::spawn(async move { store.apply(wanted).await });
                for _ in 0..self.random.below(20) {
                    tokio::task::yield_now().await;
                }
                self.controls[control].kill();
                call.abort();
            }
            Step::Kill(control) => self.controls[control].kill(),
            Step::Start(control) => self.start_control(control).await,
            Step::Renew(number) => {
                let node = self.new_node(number).await;
                let mut watched = lock(&self.watched);
                watched.sets[number] = Arc::clone(&node.set);
                watched.hearing[number] = None;
                watched.held_back.remove(&format!("{:?}", End::Node(number)));
                drop(watched);
                self.nodes[number] = node;
            }
            Step::Network(end, flow) => {
                let of = if let End::Node(node) = end { Some(node) } else { None };
                if flow == Flow::Held {
                    lock(&self.watched).held_back.insert(format!("{end:?}"), of);
                }
                self.proxy(end).set(flow);
                if flow != Flow::Held {
                    self.flows_again(&format!("{end:?}"));
                }
            }
            Step::Reset(end) => self.proxy(end).reset(),
            Step::KillBroker { loses } => {
                self.on_broker(move |broker| broker.kill(loses)).await;
                self.flows_again("broker");
            }
            Step::RunBroker => self.on_broker(Broker::run).await,
            Step::StopBroker => {
                lock(&self.watched).held_back.insert("broker".into(), None);
                self.on_broker(|broker| broker.stop(true)).await;
            }
            Step::ContinueBroker => {
                self.on_broker(|broker| broker.stop(false)).await;
                self.flows_again("broker");
            }
            Step::Tamper(what) => {
                let (is_running, port) = {
                    let broker = lock(&self.broker);
                    (broker.is_running && !broker.is_stopped, self.port)
                };
                if !is_running {
                    return;
                }
                let source = self.store.source().await.expect("a source");
                let seq = self.store.seq().await.expect("a seq");
                let at = Position { source, seq };
                let tampered = tamper(self.kind, port, what, at, &mut self.random);
                lock(&self.watched).healing = Some(Instant::now() + DEADLINE);
                let done = tokio::time::timeout(Duration::from_secs(2), tampered).await;
                self.heals();
                self.note(format!("  {done:?}"));
            }
        }
    }

    fn heals(&self) {
        lock(&self.watched).healing = Some(Instant::now() + HEALING);
    }

    fn flows_again(&self, what: &str) {
        lock(&self.watched).held_back.remove(what);
    }

    fn proxy(&self, end: End) -> &Proxy {
        match end {
            End::Node(number) => &self.nodes[number].proxy,
            End::Control(number) => &self.controls[number].proxy,
        }
    }

    async fn on_broker(&self, what: impl FnOnce(&mut Broker) + Send + 'static) {
        let broker = Arc::clone(&self.broker);
        spawn_blocking(move || what(&mut lock(&broker))).await.expect("no panic");
    }

    async fn change(&mut self, control: usize, wishes: Vec<Wish>) {
        // Whoever is asked when a control node is gone.
        let Some((store, _)) = [control]
            .into_iter()
            .chain(0..self.controls.len())
            .find_map(|number| self.controls[number].running.as_ref())
        else {
            return;
        };
        for wish in &wishes {
            match *wish {
                Wish::Lift(number) => drop(lock(&self.watched).duties.remove(&number)),
                Wish::Impose(number, before) => {
                    // Until it is done, both times may be in force.
                    if let Some(duty) = lock(&self.watched).duties.get_mut(&number).filter(|_| number % 2 == 1) {
                        duty.before = duty.before.min(before);
                    }
                }
            }
        }
        let done = store.apply(wishes.iter().copied().map(wanted).collect()).await;
        let Ok(done) = done.inspect_err(|error| self.log.push(format!("           {error}"))) else { return };
        let seqs: Vec<u64> = done.into_iter().flatten().map(|change| change.seq).collect();
        self.note(format!("  acknowledged {:?}", seqs.first().zip(seqs.last())));
        let mut watched = lock(&self.watched);
        let clocks = watched.clocks.clone();
        let mut last = BTreeMap::new();
        for wish in wishes {
            match wish {
                Wish::Lift(number) => last.insert(number, None),
                Wish::Impose(number, before) => last.insert(number, Some(before)),
            };
        }
        for (number, before) in last {
            let Some(before) = before else {
                watched.duties.remove(&number);
                continue;
            };
            let before = slot(number, before).1;
            let before = if let Effect::IssuedBefore { before } = before { before } else { u64::MAX };
            match watched.duties.get(&number) {
                Some(duty) if duty.before == before => {}
                _ => drop(watched.duties.insert(number, Duty { before, since: clocks.clone() })),
            }
        }
    }

    /// Mends everything, and waits until every node says what the database says.
    async fn calm(&mut self) -> Result<u64, String> {
        self.note("calm".into());
        for number in 0..self.controls.len() {
            self.start_control(number).await;
            self.controls[number].proxy.set(Flow::Through);
        }
        self.nodes.iter().for_each(|node| node.proxy.set(Flow::Through));
        self.on_broker(|broker| {
            broker.stop(false);
            broker.run();
        })
        .await;
        lock(&self.watched).held_back.clear();
        let begun = Instant::now();
        let deadline = if self.fault == Fault::None { DEADLINE } else { FAULT_DEADLINE };
        let mut told = None;
        loop {
            if let Some(violation) = lock(&self.watched).violation.clone() {
                return Err(violation);
            }
            let wrong = self.wrong().await;
            if wrong != told {
                self.note(wrong.clone().unwrap_or_else(|| "all is well".into()));
                told.clone_from(&wrong);
            }
            match wrong {
                None => return self.store.seq().await.map_err(|error| error.to_string()),
                Some(wrong) if begun.elapsed() > deadline => return Err(wrong),
                Some(_) => tokio::time::sleep(ASK_EVERY).await,
            }
        }
    }

    /// The first thing that is not as it should be.
    async fn wrong(&self) -> Option<String> {
        for (number, node) in self.nodes.iter().enumerate() {
            if node.task.is_finished() {
                return Some(format!("node {number}: its feed has ended"));
            }
            if node.set.age(Instant::now()).is_none_or(|age| age > MAX_STALENESS) {
                return Some(format!("node {number}: it is stale"));
            }
        }
        let (seq, entries) = self.store.state().await.expect("a state");
        let truth = Truth::new(seq, entries);
        let differs = |(number, node): (usize, &Node)| Some(format!("node {number}: {}", truth.differs(&node.set)?));
        self.nodes.iter().enumerate().find_map(differs)
    }
}

async fn watch_over(watched: Arc<Mutex<Watched>>) {
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        lock(&watched).look();
    }
}

fn wanted(wish: Wish) -> Wanted {
    match wish {
        Wish::Impose(number, before) => {
            let (scope, effect) = slot(number, before);
            Wanted::impose(scope, effect)
        }
        Wish::Lift(number) => {
            let (scope, effect) = slot(number, 0);
            Wanted::lift(scope, effect)
        }
    }
}

async fn follow(kind: Kind, port: u16, set: Arc<RestrictionSet>, fault: Fault) -> FeedError {
    let metrics = Arc::new(Metrics::new());
    let counted = Arc::clone(&metrics);
    let (applied, (_never, resync)) = (watch::Sender::new(0), watch::channel(0));
    let following = Following { set: &set, uid_case, metrics: &metrics, applied: &applied, resync };
    let ended = match kind {
        Kind::Redis => match RedisFeed::connect(redis_options(port), counted).await {
            Ok(feed) => following.follow(Faulty { feed, fault }).await,
            Err(refused) => Err(refused),
        },
        Kind::Nats => match NatsFeed::connect(&nats_options(port), counted).await {
            Ok(feed) => following.follow(Faulty { feed, fault }).await,
            Err(refused) => Err(refused),
        },
    };
    ended.expect_err("a feed ends with an error only")
}

/// A feed that may do what none should.
struct Faulty<F> {
    feed: F,
    fault: Fault,
}

impl<F: RestrictionFeed> RestrictionFeed for Faulty<F> {
    async fn next(&mut self) -> Result<Event, FeedError> {
        loop {
            let event = self.feed.next().await?;
            let loses = match self.fault {
                Fault::None => false,
                Fault::LosesImposed => matches!(&event, Event::Change(change) if change.in_force),
                Fault::LosesLifted => matches!(&event, Event::Change(change) if !change.in_force),
            };
            if !loses {
                return Ok(event);
            }
        }
    }

    fn resync(&mut self) {
        self.feed.resync();
    }
}
