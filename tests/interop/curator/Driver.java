import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.Method;
import java.net.URLDecoder;
import java.net.URLEncoder;
import java.util.Collection;
import java.util.Deque;
import java.util.HexFormat;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedDeque;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.curator.RetryPolicy;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.atomic.AtomicValue;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicInteger;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicNumber;
import org.apache.curator.framework.recipes.barriers.DistributedBarrier;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderLatchListener;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.leader.Participant;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreMutex;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;
import org.apache.curator.framework.recipes.locks.Revoker;
import org.apache.curator.framework.recipes.nodes.GroupMember;
import org.apache.curator.framework.recipes.queue.DistributedPriorityQueue;
import org.apache.curator.framework.recipes.queue.DistributedQueue;
import org.apache.curator.framework.recipes.queue.QueueBuilder;
import org.apache.curator.framework.recipes.queue.QueueConsumer;
import org.apache.curator.framework.recipes.queue.QueueSerializer;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.framework.recipes.shared.SharedCountListener;
import org.apache.curator.framework.recipes.shared.SharedCountReader;
import org.apache.curator.framework.recipes.shared.VersionedValue;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.ExponentialBackoffRetry;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;

/**
 * Curator's recipes, played by lines on standard input and output: what `driver.py` talks to.
 *
 * A line is words between single spaces, each URL-encoded. The first word of a request is a tag, with which
 * its answer begins, too:
 *
 *     1 connect zk 127.0.0.1:2181 10000      ->  1 ok 0x100001a 1f00...
 *     2 make one zk mutex /path              ->  2 ok
 *     3 do one acquire 5                     ->  3 ok true 4294967301 /path/_c_...-lock-0000000000
 *     4 do one release                       ->  4 ok
 *     5 do one nonsense                      ->  5 error IllegalArgumentException nonsense
 *
 * Each recipe has a thread of its own, since Curator's locks belong to threads: what one is asked is done in
 * order, what several are asked, at the same time. What happens by itself is told by lines like `* one leading`.
 * The process ends with its input.
 */
public class Driver {
    interface Recipe {
        /** The words of the answer: an array or a collection of them, one object, or null for none. */
        Object does(String verb, Words words) throws Exception;
    }

    record Actor(String client, Recipe recipe, ExecutorService thread) {}

    static final PrintStream OUT = System.out;
    static final Map<String, CuratorFramework> clients = new ConcurrentHashMap<>();
    static final Map<String, Actor> actors = new ConcurrentHashMap<>();

    public static void main(String[] arguments) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        ExecutorService others = Executors.newCachedThreadPool();
        for (String line; (line = in.readLine()) != null; ) {
            Words words = new Words(line);
            String tag = words.word(), verb = words.word();
            Actor actor = verb.equals("do") ? actors.get(words.word()) : null;
            if (actor == null) others.execute(() -> answer(tag, () -> serve(verb, words)));
            else actor.thread.execute(() -> answer(tag, () -> actor.recipe.does(words.word(), words)));
        }
        Runtime.getRuntime().halt(0);
    }

    /** What is asked of nobody's recipe. */
    static Object serve(String verb, Words words) throws Exception {
        String name = words.word();
        switch (verb) {
            case "connect": return connect(name, words);
            case "close": return close(name);
            case "revoke": Revoker.attemptRevoke(clients.get(name), words.word()); return null;
            case "make": return make(name, words.word(), words.word(), words);
            case "drop": return drop(name);
            case "interrupt": return interrupt(name);
            default: throw unknown(verb);
        }
    }

    // -- clients and recipes ------------------------------------------------------------------------------

    /** Answers with the id and the password of the session, which is all one needs to end it from outside. */
    static Object connect(String name, Words words) throws Exception {
        CuratorFramework zk = CuratorFrameworkFactory.builder()
            .connectString(words.word())
            .sessionTimeoutMs(words.number())
            .connectionTimeoutMs(10_000)
            .retryPolicy(new ExponentialBackoffRetry(50, 8, 2_000))
            .defaultData("curator".getBytes(UTF_8))
            .build();
        zk.getConnectionStateListenable().addListener((client, state) -> say("*", name, state));
        zk.start();
        if (!zk.blockUntilConnected(10, TimeUnit.SECONDS)) {
            zk.close();
            throw new IllegalStateException("not connected");
        }
        clients.put(name, zk);
        ZooKeeper session = zk.getZookeeperClient().getZooKeeper();
        return new Object[] {session.getSessionId(), HexFormat.of().formatHex(session.getSessionPasswd())};
    }

    static Object close(String name) throws Exception {
        actors.forEach((actor, one) -> { if (one.client.equals(name)) drop(actor); });
        clients.remove(name).close();
        return null;
    }

    static Object make(String name, String client, String kind, Words words) throws Exception {
        Recipe recipe = recipe(name, clients.get(client), kind, words.word(), words);
        actors.put(name, new Actor(client, recipe, Executors.newSingleThreadExecutor()));
        return null;
    }

    /** Interrupts what the recipe is at; its client, and what it holds in there, stay as they are. */
    static Object drop(String name) {
        actors.remove(name).thread.shutdownNow();
        return null;
    }

    /** As `drop`, and the recipe can be used again. */
    static Object interrupt(String name) {
        Actor actor = actors.get(name);
        actors.put(name, new Actor(actor.client, actor.recipe, Executors.newSingleThreadExecutor()));
        actor.thread.shutdownNow();
        return null;
    }

    static Recipe recipe(String name, CuratorFramework zk, String kind, String path, Words words)
            throws Exception {
        switch (kind) {
            case "mutex": return mutex(name, zk, new InterProcessMutex(zk, path));
            case "semaphoremutex": return semaphoreMutex(new InterProcessSemaphoreMutex(zk, path));
            case "readwrite": return readWrite(name, zk, new InterProcessReadWriteLock(zk, path));
            case "semaphore":
                return semaphore(zk, path, new InterProcessSemaphoreV2(zk, path, words.number()));
            case "countedsemaphore":
                return semaphore(zk, path, new InterProcessSemaphoreV2(zk, path, started(zk, words)));
            case "latch": return latch(name, new LeaderLatch(zk, path, words.word()));
            case "selector": return selector(name, zk, path, words.word());
            case "barrier": return barrier(new DistributedBarrier(zk, path));
            case "doublebarrier":
                return doubleBarrier(new DistributedDoubleBarrier(zk, path, words.number()));
            case "queue": return queue(name, zk, path, words.word(), words.word());
            case "priorityqueue": return priorityQueue(name, zk, path, words.word(), words.word());
            case "count": return count(name, new SharedCount(zk, path, words.number()));
            case "integer": return number(new DistributedAtomicInteger(zk, path, RETRY), Integer::valueOf);
            case "long": return number(new DistributedAtomicLong(zk, path, RETRY), Long::valueOf);
            case "member":
                return member(new GroupMember(zk, path, words.word(), words.word().getBytes(UTF_8)));
            default: throw unknown(kind);
        }
    }

    static final RetryPolicy RETRY = new ExponentialBackoffRetry(5, 10);

    // -- locks --------------------------------------------------------------------------------------------

    static Recipe mutex(String name, CuratorFramework zk, InterProcessMutex mutex) {
        return (verb, words) -> {
            switch (verb) {
                case "acquire": return acquired(zk, mutex, words);
                case "release": mutex.release(); return null;
                case "participants": return mutex.getParticipantNodes();
                case "revocable": mutex.makeRevocable(lock -> say("*", name, "revoke")); return null;
                default: throw unknown(verb);
            }
        };
    }

    /** False, or: true, the zxid that created the lock's znode, its path. */
    static Object acquired(CuratorFramework zk, InterProcessMutex mutex, Words words) throws Exception {
        if (!mutex.acquire(words.millis(), TimeUnit.MILLISECONDS)) return false;
        Method method = InterProcessMutex.class.getDeclaredMethod("getLockPath");
        method.setAccessible(true);
        String path = (String) method.invoke(mutex);
        return new Object[] {true, created(zk, path), path};
    }

    static long created(CuratorFramework zk, String path) throws Exception {
        Stat stat = zk.checkExists().forPath(path);
        return stat == null ? -1 : stat.getCzxid();
    }

    static Recipe semaphoreMutex(InterProcessSemaphoreMutex mutex) {
        return (verb, words) -> {
            switch (verb) {
                case "acquire": return mutex.acquire(words.millis(), TimeUnit.MILLISECONDS);
                case "release": mutex.release(); return null;
                default: throw unknown(verb);
            }
        };
    }

    /** `read acquire 5`, `write release`, … */
    static Recipe readWrite(String name, CuratorFramework zk, InterProcessReadWriteLock lock) {
        Recipe read = mutex(name, zk, lock.readLock()), write = mutex(name, zk, lock.writeLock());
        return (verb, words) -> (verb.equals("read") ? read : write).does(words.word(), words);
    }

    static Recipe semaphore(CuratorFramework zk, String path, InterProcessSemaphoreV2 semaphore) {
        Deque<Lease> leases = new ConcurrentLinkedDeque<>();
        return (verb, words) -> {
            switch (verb) {
                case "acquire":
                    Lease lease = semaphore.acquire(words.millis(), TimeUnit.MILLISECONDS);
                    if (lease == null) return false;
                    leases.push(lease);
                    String node = path + "/leases/" + lease.getNodeName();
                    return new Object[] {true, created(zk, node), node};
                case "release": semaphore.returnLease(leases.pop()); return null;
                case "participants": return semaphore.getParticipantNodes();
                default: throw unknown(verb);
            }
        };
    }

    /** A semaphore's limit: the path of a SharedCount, and what it is to be where there is none. */
    static SharedCount started(CuratorFramework zk, Words words) throws Exception {
        SharedCount count = new SharedCount(zk, words.word(), words.number());
        count.start();
        return count;
    }

    // -- leaders ------------------------------------------------------------------------------------------

    static Recipe latch(String name, LeaderLatch latch) {
        latch.addListener(new LeaderLatchListener() {
            public void isLeader() { say("*", name, "leading"); }
            public void notLeader() { say("*", name, "following"); }
        });
        return (verb, words) -> {
            switch (verb) {
                case "start": latch.start(); return null;
                case "await": return latch.await(words.millis(), TimeUnit.MILLISECONDS);
                case "leads": return latch.hasLeadership();
                case "path": return latch.getOurPath();
                case "leader": return latch.getLeader().getId();
                case "participants": return ids(latch.getParticipants());
                case "close": latch.close(); return null;
                default: throw unknown(verb);
            }
        };
    }

    /** Leads from when it is chosen until it is told to `yield`; `requeue` stands again. */
    static Recipe selector(String name, CuratorFramework zk, String path, String id) {
        BlockingQueue<String> yields = new LinkedBlockingQueue<>();
        LeaderSelector selector = new LeaderSelector(zk, path, new LeaderSelectorListenerAdapter() {
            public void takeLeadership(CuratorFramework client) throws Exception {
                say("*", name, "leading");
                try {
                    yields.take();
                } finally {
                    say("*", name, "following");
                }
            }
        });
        selector.setId(id);
        return (verb, words) -> {
            switch (verb) {
                case "start": selector.start(); return null;
                case "yield": yields.add(verb); return null;
                case "requeue": return selector.requeue();
                case "leads": return selector.hasLeadership();
                case "leader": return selector.getLeader().getId();
                case "participants": return ids(selector.getParticipants());
                case "close": selector.close(); return null;
                default: throw unknown(verb);
            }
        };
    }

    static Object ids(Collection<Participant> participants) {
        return participants.stream().map(Participant::getId).collect(Collectors.toList());
    }

    // -- barriers and members -----------------------------------------------------------------------------

    static Recipe barrier(DistributedBarrier barrier) {
        return (verb, words) -> {
            switch (verb) {
                case "set": barrier.setBarrier(); return null;
                case "remove": barrier.removeBarrier(); return null;
                case "wait": return barrier.waitOnBarrier(words.millis(), TimeUnit.MILLISECONDS);
                default: throw unknown(verb);
            }
        };
    }

    static Recipe doubleBarrier(DistributedDoubleBarrier barrier) {
        return (verb, words) -> {
            switch (verb) {
                case "enter": return barrier.enter(words.millis(), TimeUnit.MILLISECONDS);
                case "leave": return barrier.leave(words.millis(), TimeUnit.MILLISECONDS);
                default: throw unknown(verb);
            }
        };
    }

    static Recipe member(GroupMember member) {
        return (verb, words) -> {
            switch (verb) {
                case "start": member.start(); return null;
                case "members": return new TreeMap<>(member.getCurrentMembers()).entrySet().stream()
                    .flatMap(each -> Stream.of(each.getKey(), new String(each.getValue(), UTF_8)))
                    .collect(Collectors.toList());
                case "close": member.close(); return null;
                default: throw unknown(verb);
            }
        };
    }

    // -- queues and numbers -------------------------------------------------------------------------------

    /** What a queue's consumer waits for, at an item that is called "slow". */
    static final SynchronousQueue<String> going = new SynchronousQueue<>();

    /** `role` "both" also consumes: each item is told as it is taken. */
    static QueueBuilder<String> builder(
            String name, CuratorFramework zk, String path, String lock, String role) {
        QueueConsumer<String> consumer = new QueueConsumer<>() {
            public void consumeMessage(String item) throws Exception {
                say("*", name, "item", item);
                if (item.equals("slow")) going.take();
            }
            public void stateChanged(CuratorFramework client, ConnectionState state) {}
        };
        QueueSerializer<String> serializer = new QueueSerializer<>() {
            public byte[] serialize(String item) { return item.getBytes(UTF_8); }
            public String deserialize(byte[] bytes) { return new String(bytes, UTF_8); }
        };
        QueueBuilder<String> builder =
            QueueBuilder.builder(zk, role.equals("both") ? consumer : null, serializer, path);
        return lock.isEmpty() ? builder : builder.lockPath(lock);
    }

    static Recipe queue(String name, CuratorFramework zk, String path, String lock, String role) {
        DistributedQueue<String> queue = builder(name, zk, path, lock, role).buildQueue();
        return (verb, words) -> {
            switch (verb) {
                case "start": queue.start(); return null;
                case "put":
                    queue.put(words.word());
                    return queue.flushPuts(10, TimeUnit.SECONDS);
                case "go": going.put(verb); return null;
                case "close": queue.close(); return null;
                default: throw unknown(verb);
            }
        };
    }

    static Recipe priorityQueue(String name, CuratorFramework zk, String path, String lock, String role) {
        DistributedPriorityQueue<String> queue = builder(name, zk, path, lock, role).buildPriorityQueue(0);
        return (verb, words) -> {
            switch (verb) {
                case "start": queue.start(); return null;
                case "put":
                    queue.put(words.word(), words.number());
                    return queue.flushPuts(10, TimeUnit.SECONDS);
                case "close": queue.close(); return null;
                default: throw unknown(verb);
            }
        };
    }

    static Recipe count(String name, SharedCount count) {
        count.addListener(new SharedCountListener() {
            public void countHasChanged(SharedCountReader reader, int value) {
                say("*", name, "count", value);
            }
            public void stateChanged(CuratorFramework client, ConnectionState state) {}
        });
        return (verb, words) -> {
            switch (verb) {
                case "start": count.start(); return null;
                case "get": return count.getCount();
                case "set": count.setCount(words.number()); return null;
                case "add":
                    VersionedValue<Integer> before = count.getVersionedValue();
                    return count.trySetCount(before, before.getValue() + words.number());
                case "close": count.close(); return null;
                default: throw unknown(verb);
            }
        };
    }

    /** Each answer is: whether it succeeded, and the value after it. */
    static <T> Recipe number(DistributedAtomicNumber<T> number, Function<String, T> of) {
        return (verb, words) -> {
            AtomicValue<T> value;
            switch (verb) {
                case "get": value = number.get(); break;
                case "add": value = number.add(of.apply(words.word())); break;
                case "set": value = number.trySet(of.apply(words.word())); break;
                default: throw unknown(verb);
            }
            return new Object[] {value.succeeded(), value.postValue()};
        };
    }

    // -- lines --------------------------------------------------------------------------------------------

    /** The words of a request, read one after the other. */
    static class Words {
        private final String[] all;
        private int next;

        Words(String line) {
            all = line.split(" ", -1);
        }

        String word() { return URLDecoder.decode(all[next++], UTF_8); }
        int number() { return Integer.parseInt(word()); }
        /** Of a time in seconds, which may be missing. */
        long millis() { return next < all.length ? (long) (1000 * Double.parseDouble(word())) : 100_000; }
    }

    static void answer(String tag, Callable<Object> work) {
        try {
            Stream<?> words = stream(work.call());
            say(tag, Stream.concat(Stream.of("ok"), words).toArray());
        } catch (Throwable error) {
            say(tag, "error", error.getClass().getSimpleName(), String.valueOf(error.getMessage()));
        }
    }

    static Stream<?> stream(Object result) {
        if (result instanceof Collection<?> collection) return collection.stream();
        if (result instanceof Object[] array) return Stream.of(array);
        return Stream.ofNullable(result);
    }

    static void say(String tag, Object... words) {
        StringBuilder line = new StringBuilder(tag);
        for (Object word : words) line.append(' ').append(URLEncoder.encode(word.toString(), UTF_8));
        synchronized (OUT) {
            OUT.println(line);
            OUT.flush();
        }
    }

    static IllegalArgumentException unknown(String word) {
        return new IllegalArgumentException(word);
    }
}
