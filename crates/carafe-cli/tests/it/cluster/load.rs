//! Publishers that publish at any node, and readers that move between the nodes.

use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use carafe_client::{Control, EventSource, Publish, Publisher, State};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::process::seed;

use super::nodes::Nodes;
use super::oracle::{Oracle, PLAIN, Reading};

/// How long a request may take before the client turns to another node.
const REQUEST: Duration = Duration::from_secs(5);

/// How long nothing may be delivered, and how long all readers may take to receive the last
/// events.
const PATIENCE: Duration = Duration::from_secs(120);

/// Every so many events, a publisher repeats the key of an event that was acknowledged.
const REPEATS: u32 = 10;

/// How many events of each topic were acknowledged.
type Counts = Arc<Vec<(String, u64)>>;

/// Publishers and readers at work.
pub(crate) struct Load {
    pub(crate) oracle: Arc<Oracle>,
    seed: u64,
    stop: Arc<AtomicBool>,
    publishers: JoinSet<(String, u64)>,
    readers: JoinSet<()>,
    lost: Vec<LostConnections>,
    finish: watch::Sender<Option<Counts>>,
}

/// Why a reader had to connect again, each time.
type LostConnections = Arc<Mutex<Vec<String>>>;

impl Load {
    /// Starts this many publishers and readers, with random numbers from the test's seed. The
    /// readers move between the nodes.
    pub(crate) fn start(nodes: &Nodes, publishers: usize, readers: usize) -> Self {
        Self::on(nodes.urls(), Some(Duration::from_secs(1)), publishers, readers)
    }

    /// The same through a load balancer: readers move only when they lose their connection.
    pub(crate) fn through(url: String, publishers: usize, readers: usize) -> Self {
        Self::on(vec![url], None, publishers, readers)
    }

    /// Random numbers from the seed of the load, for the faults.
    pub(crate) fn random(&self) -> StdRng {
        StdRng::seed_from_u64(self.seed)
    }

    fn on(urls: Vec<String>, stay: Option<Duration>, publishers: usize, readers: usize) -> Self {
        let seed = seed();
        let (oracle, stop) = (Arc::new(Oracle::new()), Arc::new(AtomicBool::new(false)));
        let (finish, finished) = watch::channel(None);
        let urls: Arc<[String]> = urls.into();
        let lost: Vec<_> = (0..readers).map(|_| LostConnections::default()).collect();
        let mut random = StdRng::seed_from_u64(seed);
        let publishers = (0..publishers).map(|number| {
            let publisher = Publishing {
                // Keys hide what is stored twice: some publishers have none.
                topic: match number % 4 {
                    3 => format!("{PLAIN}{number}"),
                    _ => format!("publisher/{number}"),
                },
                nodes: urls.iter().map(publisher).collect(),
                oracle: Arc::clone(&oracle),
                random: StdRng::seed_from_u64(random.random()),
            };
            publisher.run(Arc::clone(&stop))
        });
        let publishers = publishers.collect();
        let readers = lost.iter().map(|lost| {
            let random = StdRng::seed_from_u64(random.random());
            let (urls, oracle, lost) = (Arc::clone(&urls), Arc::clone(&oracle), Arc::clone(lost));
            Reader { urls, oracle, lost, stay, random }.run(finished.clone())
        });
        let readers = readers.collect();
        Self { oracle, seed, stop, publishers, readers, lost, finish }
    }

    /// Why each reader has lost its connections since the last call.
    pub(crate) fn lost_connections(&self) -> Vec<Vec<String>> {
        self.lost.iter().map(|lost| std::mem::take(&mut *lost.lock().unwrap())).collect()
    }

    /// Waits until this many more events were delivered.
    pub(crate) async fn deliver(&self, events: u64) {
        self.wait("delivered", events, Oracle::deliveries).await;
    }

    /// The longest time in which no publisher got an answer since the last call, once publishing
    /// works.
    pub(crate) async fn outage(&self) -> Duration {
        // More than the answers that were on their way when the fault came.
        self.wait("acknowledged", 50, Oracle::acknowledgements).await;
        self.oracle.longest_pause()
    }

    /// Waits until a count has grown by so much.
    async fn wait(&self, what: &str, events: u64, count: impl Fn(&Oracle) -> u64) {
        let mut counted = count(&self.oracle);
        let (until, mut progress) = (counted + events, Instant::now());
        while counted < until {
            sleep(Duration::from_millis(10)).await;
            let now = count(&self.oracle);
            if std::mem::replace(&mut counted, now) != now {
                progress = Instant::now();
            }
            assert!(progress.elapsed() < PATIENCE, "{now} of {until} events were {what}");
        }
    }

    /// Stops publishing, and waits until each reader has received every acknowledged event.
    pub(crate) async fn finish(mut self, what: &str) {
        self.stop.store(true, Ordering::Relaxed);
        let counts: Vec<_> = std::mem::take(&mut self.publishers).join_all().await;
        let acknowledged: u64 = counts.iter().map(|(_, count)| count).sum();
        self.finish.send(Some(Arc::new(counts))).unwrap();
        let readers = self.readers.len();
        let all = timeout(PATIENCE, std::mem::take(&mut self.readers).join_all()).await;
        assert!(all.is_ok(), "not all readers received all events within {PATIENCE:?}");
        println!(
            "{what}: {acknowledged} events acknowledged, {} received by {readers} readers; 0 lost, \
             0 doubled, 0 out of order",
            self.oracle.deliveries()
        );
    }
}

fn publisher(url: &String) -> Publisher {
    Publisher::new(url).without_retry().with_timeout(REQUEST)
}

/// Publishes 1, 2, 3 and so on to its topic: each until it is acknowledged, by a key, or if the
/// topic is plain only once, without a key.
struct Publishing {
    topic: String,
    nodes: Vec<Publisher>,
    oracle: Arc<Oracle>,
    random: StdRng,
}

impl Publishing {
    /// Answers how many events were acknowledged.
    async fn run(mut self, stop: Arc<AtomicBool>) -> (String, u64) {
        let mut count = 0;
        while !stop.load(Ordering::Relaxed) {
            count += 1;
            if self.topic.starts_with(PLAIN) {
                self.publish_once(count).await;
                continue;
            }
            self.publish(count).await;
            if self.random.random_ratio(1, REPEATS) {
                let again = self.random.random_range(1..=count);
                self.publish(again).await;
            }
        }
        (self.topic, count)
    }

    /// What was not acknowledged may have been stored or not.
    async fn publish_once(&mut self, number: u64) {
        let event = Publish::to(&self.topic, number.to_string());
        self.attempt(number, &event).await;
    }

    /// At another node after each failure: the key keeps the event from being there twice.
    async fn publish(&mut self, number: u64) {
        let event = Publish::to(&self.topic, number.to_string()).with_key(number.to_string());
        while !self.attempt(number, &event).await {}
    }

    /// Publishes at any node, and answers whether that was acknowledged.
    async fn attempt(&mut self, number: u64, event: &Publish) -> bool {
        let node = self.random.random_range(0..self.nodes.len());
        let Ok(Ok(id)) = timeout(REQUEST, self.nodes[node].publish(event)).await else {
            sleep(Duration::from_millis(20)).await;
            return false;
        };
        self.oracle.acknowledged(&self.topic, number, &id);
        true
    }
}

/// Reads everything until it has what was acknowledged.
struct Reader {
    urls: Arc<[String]>,
    oracle: Arc<Oracle>,
    lost: LostConnections,
    /// How long it reads from one node at most.
    stay: Option<Duration>,
    random: StdRng,
}

impl Reader {
    async fn run(mut self, mut finished: watch::Receiver<Option<Counts>>) {
        let (mut reading, mut id) = (Reading::default(), String::from("earliest"));
        loop {
            let mut events = self.connect(&id);
            let stay = self.stay();
            tokio::pin!(stay);
            loop {
                let counts = finished.borrow_and_update().clone();
                if counts.is_some_and(|counts| self.oracle.is_complete(&reading, &counts)) {
                    return;
                }
                tokio::select! {
                    Some(Ok(event)) = events.next() => self.oracle.delivered(&mut reading, &event),
                    () = &mut stay => break,
                    Ok(()) = finished.changed() => {}
                }
            }
            events.last_event_id().clone_into(&mut id);
        }
    }

    /// To any node.
    fn connect(&mut self, id: &str) -> EventSource {
        let node = &self.urls[self.random.random_range(0..self.urls.len())];
        let lost = Arc::clone(&self.lost);
        let options = EventSource::options(format!("{node}/events?envelope=json"));
        let options = options.last_event_id(id).retry(Duration::from_millis(50));
        let options = options.on_control(|control| {
            assert!(!matches!(control, Control::Gap(_)), "nothing is missing: {control:?}");
        });
        let options = options.on_state(move |state| {
            if let State::Waiting { reason, .. } = state {
                lost.lock().unwrap().push(reason.to_string());
            }
        });
        options.connect()
    }

    fn stay(&mut self) -> impl Future<Output = ()> + use<> {
        let time = self.stay.map(|most| most.mul_f64(self.random.random_range(0.02..1.0)));
        async move {
            match time {
                Some(time) => sleep(time).await,
                None => pending().await,
            }
        }
    }
}
