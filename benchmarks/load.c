/* A load on any server that speaks ZooKeeper's client protocol: equal bytes for each, and little work here.
 *
 *     ./load get|set|create|mixed CONNECTIONS OUTSTANDING OPERATIONS HOST:PORT[,HOST:PORT...]
 *
 * One thread, a closed loop: each connection (a session; evenly spread over the servers) has OUTSTANDING
 * requests on the way until OPERATIONS are answered. Prints a line of JSON; a latency runs from just before a
 * request is sent until its reply has come. An error, or a reply out of order, ends it with status 1.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CREATE = 1, GET_DATA = 4, SET_DATA = 5, SYNC = 9, CLOSE = -11 };
enum { NO_ERROR = 0, NODE_EXISTS = -110 };
enum { ZNODES = 1000, DATA_BYTES = 100, READS = 90 /* of a hundred, in "mixed" */, SESSION_MS = 30000 };
enum { REQUEST_BYTES_MAX = 256, OUTSTANDING_MAX = ZNODES, RECEIVE_BYTES = 1 << 16 };

struct connection {
    int fd;
    int32_t sent, answered;            /* xids: of the last request sent, and of the last reply */
    size_t received;                   /* bytes in `in` that are no whole frame yet */
    uint64_t sent_at[OUTSTANDING_MAX]; /* by xid modulo that */
    uint8_t in[RECEIVE_BYTES];
};

static const char *operation;
static long connections, outstanding, operations, issued, finished;
static uint64_t *latencies;   /* of each operation, in nanoseconds */
static uint8_t out[(OUTSTANDING_MAX + 1) * REQUEST_BYTES_MAX]; /* of one connection, sent in one piece */
static size_t out_bytes;
static const uint8_t zeros[DATA_BYTES];

static uint64_t now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000000000 + (uint64_t)at.tv_nsec;
}

static uint32_t chance(uint32_t below) {
    static uint64_t state = 88172645463325252u; /* xorshift64 */
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32) % below;
}

static void put_bytes(const void *bytes, size_t count) {
    memcpy(out + out_bytes, bytes, count);
    out_bytes += count;
}

static void put_int(int32_t value) {
    uint32_t big = htonl((uint32_t)value);
    put_bytes(&big, sizeof big);
}

static void put_buffer(const void *bytes, size_t count) {
    put_int((int32_t)count);
    put_bytes(bytes, count);
}

static int32_t int_at(const uint8_t *b) {
    return (int32_t)((uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3]);
}

/* One request's frame, at the end of what is to be sent. */
static void put_request(struct connection *c, int32_t op, const char *path) {
    size_t begin = out_bytes;
    put_int(0); /* the length: see below */
    put_int(++c->sent);
    put_int(op);
    if (op != CLOSE)
        put_buffer(path, strlen(path));
    if (op == GET_DATA)
        put_bytes(zeros, 1); /* no watch */
    if (op == SET_DATA || op == CREATE)
        put_buffer(zeros, DATA_BYTES);
    if (op == SET_DATA)
        put_int(-1); /* any version */
    if (op == CREATE) /* one entry: all permissions (31) for everybody; no flags */
        put_bytes("\0\0\0\1\0\0\0\37\0\0\0\5world\0\0\0\6anyone\0\0\0\0", 31);
    uint32_t length = htonl((uint32_t)(out_bytes - begin - 4));
    memcpy(out + begin, &length, sizeof length);
}

static void send_out(struct connection *c) {
    if (send(c->fd, out, out_bytes, MSG_NOSIGNAL) != (ssize_t)out_bytes) /* it blocks until all is taken */
        err(1, "cannot send");
    out_bytes = 0;
}

/* Takes what has come (waiting for it unless `flags` say otherwise); returns how many replies it completed.
 * Each must be to the oldest request, and have no error but `allowed`. */
static int receive(struct connection *c, int flags, int32_t allowed) {
    ssize_t count = recv(c->fd, c->in + c->received, RECEIVE_BYTES - c->received, flags);
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (count <= 0)
        errx(1, "the connection is lost: %s", count ? strerror(errno) : "the server closed it");
    size_t begin = 0, end = c->received + (size_t)count;
    int replies = 0;
    while (end - begin >= 4) {
        size_t frame = (size_t)int_at(c->in + begin) + 4;
        if (frame < 20 || frame > RECEIVE_BYTES)
            errx(1, "a frame of %zu bytes", frame);
        if (end - begin < frame)
            break;
        int32_t xid = int_at(c->in + begin + 4), error = int_at(c->in + begin + 16);
        if (xid != ++c->answered || (error != NO_ERROR && error != allowed))
            errx(1, "error %d in a reply to %d where one to %d was due", error, xid, c->answered);
        begin += frame;
        replies++;
    }
    c->received = end - begin;
    memmove(c->in, c->in + begin, c->received);
    return replies;
}

static void open_session(struct connection *c, const char *address) {
    char host[64];
    int port, yes = 1;
    if (sscanf(address, "%63[0-9.]:%d", host, &port) != 2)
        errx(1, "%s is not HOST:PORT, with the host as a number", address);
    struct sockaddr_in to = {AF_INET, htons((uint16_t)port), {inet_addr(host)}, {0}};
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to))
        err(1, "cannot connect to %s", address);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    /* length, version, last zxid seen, timeout, session (a new one), password (none yet), not read-only */
    put_int(45);
    put_bytes(zeros, 12);
    put_int(SESSION_MS);
    put_bytes(zeros, 8);
    put_int(16);
    put_bytes(zeros, 17);
    send_out(c);
    uint8_t reply[64];
    if (recv(c->fd, reply, 41, MSG_WAITALL) != 41 || int_at(reply) != 37 || int_at(reply + 8) <= 0)
        errx(1, "%s opens no session", address);
}

static void call(struct connection *c, int32_t op, const char *path) {
    put_request(c, op, path);
    send_out(c);
    while (c->answered < c->sent)
        receive(c, 0, NODE_EXISTS);
}

static struct connection *prepare(char *servers) {
    char path[64], *addresses[64];
    long count = 0;
    for (char *one = strtok(servers, ","); one && count < 64; one = strtok(NULL, ","))
        addresses[count++] = one;
    struct connection *all = calloc((size_t)connections, sizeof *all);
    latencies = calloc((size_t)operations, sizeof *latencies);
    if (!all || !latencies || !count)
        errx(1, "no memory, or no server");
    for (long i = 0; i < connections; i++)
        open_session(&all[i], addresses[i % count]);
    call(&all[0], CREATE, "/bench");
    for (int i = 0; i < ZNODES; i++) {
        snprintf(path, sizeof path, "/bench/%04d", i);
        put_request(&all[0], CREATE, path);
    }
    snprintf(path, sizeof path, "/bench-%d", (int)getpid());
    call(&all[0], CREATE, path);
    for (long i = 0; i < connections; i++)
        call(&all[i], SYNC, "/bench"); /* every server has them now */
    return all;
}

static void issue(struct connection *c, long count) {
    char path[64];
    uint64_t at = now();
    for (; count > 0 && issued < operations; count--, issued++) {
        int32_t op = *operation == 'c' ? CREATE : *operation == 's' ? SET_DATA : GET_DATA;
        if (*operation == 'm' && chance(100) >= READS)
            op = SET_DATA;
        if (op == CREATE)
            snprintf(path, sizeof path, "/bench-%d/%08ld", (int)getpid(), issued);
        else
            snprintf(path, sizeof path, "/bench/%04u", chance(ZNODES));
        put_request(c, op, path);
        c->sent_at[c->sent % OUTSTANDING_MAX] = at;
    }
    if (out_bytes)
        send_out(c);
}

static void run(struct connection *all) {
    struct epoll_event events[256];
    int poller = epoll_create1(0);
    for (long i = 0; i < connections; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[i]};
        epoll_ctl(poller, EPOLL_CTL_ADD, all[i].fd, &event);
    }
    for (long i = 0; i < connections; i++)
        issue(&all[i], outstanding);
    while (finished < operations) {
        int ready = epoll_wait(poller, events, 256, 60000);
        if (ready == 0)
            errx(1, "no reply within a minute");
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            int replies = receive(c, MSG_DONTWAIT, NO_ERROR);
            uint64_t at = now();
            for (int32_t xid = c->answered - replies + 1; xid <= c->answered; xid++)
                latencies[finished++] = at - c->sent_at[xid % OUTSTANDING_MAX];
            issue(c, replies);
        }
    }
}

static int by_size(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static double percentile(long percent) {
    return (double)latencies[percent * (operations - 1) / 100] / 1000;
}

int main(int count, char **words) {
    if (count != 6)
        errx(1, "get|set|create|mixed CONNECTIONS OUTSTANDING OPERATIONS HOST:PORT[,HOST:PORT...]");
    operation = words[1];
    connections = atol(words[2]), outstanding = atol(words[3]), operations = atol(words[4]);
    if (connections < 1 || outstanding < 1 || outstanding > OUTSTANDING_MAX || operations < 1)
        errx(1, "a number is out of bounds");
    struct connection *all = prepare(words[5]);
    uint64_t began = now();
    run(all);
    double seconds = (double)(now() - began) / 1e9;
    qsort(latencies, (size_t)operations, sizeof *latencies, by_size);
    printf("{\"operations\": %ld, \"seconds\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f}\n",
           operations, seconds, percentile(50), percentile(99), percentile(100));
    for (long i = 0; i < connections; i++)
        call(&all[i], CLOSE, "");
    return 0;
}
