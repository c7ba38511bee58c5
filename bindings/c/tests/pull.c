/* State machines whose work the host's own threads fetch. */
#include "harness.h"

static oar_server *server;
static long sum;
static int seen[512 + 1], released;

/* Does a piece of work and reports it. */
static void work(const oar_work *w) {
    char text[32];
    int n;
    size_t got;
    ADD(seen[w->kind]);
    CHECK(w->group == 1 && w->struct_size == sizeof *w);
    switch (w->kind) {
    case OAR_WORK_APPLY: {
        unsigned char frame[4096];
        uint32_t lengths[256];
        size_t at = w->entry_count * 4;
        CHECK(w->entry_count <= 256 && w->data == (const void *)w->entries && w->data_len >= w->entry_count * sizeof(oar_entry));
        for (size_t i = 0; i < w->entry_count; i++) {
            const oar_entry *e = &w->entries[i];
            const char *end = (const char *)w->data + w->data_len;
            CHECK(e->command_len == 0 || ((const char *)e->command > (const char *)w->data && (const char *)e->command + e->command_len <= end));
            if (e->command_len == 4 && memcmp(e->command, "fail", 4) == 0) {
                OK(oar_work_done(server, w->id, OAR_ERR_STATE_MACHINE, "pulled and torn", 15));
                return;
            }
            PUT(sum, sum + 1);
            n = snprintf(text, sizeof text, "%ld", sum);
            lengths[i] = (uint32_t)n;
            memcpy(frame + at, text, (size_t)n);
            at += (size_t)n;
        }
        memcpy(frame, lengths, w->entry_count * 4);
        OK(oar_work_done(server, w->id, OAR_OK, frame, at));
        return;
    }
    case OAR_WORK_QUERY:
        if (w->data_len == 4 && memcmp(w->data, "fail", 4) == 0) {
            OK(oar_work_done(server, w->id, OAR_ERR_QUERY, "never heard of it", 17));
            return;
        }
        n = snprintf(text, sizeof text, "%ld", sum);
        OK(oar_work_done(server, w->id, OAR_OK, text, (size_t)n));
        return;
    case OAR_WORK_SNAPSHOT_WRITE: OK(oar_writer_write(w->writer, &sum, sizeof sum)); break;
    case OAR_WORK_SNAPSHOT_RELEASE: ADD(released); break;
    case OAR_WORK_RESTORE:
        OK(oar_reader_read(w->reader, &sum, sizeof sum, &got));
        CHECK(got == sizeof sum);
        OK(oar_reader_read(w->reader, text, sizeof text, &got));
        CHECK(got == 0);
        break;
    case OAR_WORK_STATE_HASH: OK(oar_work_done(server, w->id, OAR_OK, &sum, 8)); return;
    case OAR_WORK_NEXT_DUE: break;
    default: CHECK(w->kind == OAR_WORK_SNAPSHOT_PREPARE || w->kind == OAR_WORK_EXPIRE);
    }
    OK(oar_work_done(server, w->id, OAR_OK, NULL, 0));
}

static void *worker(void *kinds) {
    oar_work w;
    for (;;) {
        OAR_INIT(&w);
        OK(oar_work_next(server, (uint32_t)(uintptr_t)kinds, OAR_FOREVER, &w));
        if (w.kind == OAR_WORK_CLOSED) return NULL;
        CHECK((w.kind & (uint32_t)(uintptr_t)kinds) != 0);
        work(&w);
    }
}

static void open_pull(oar_config *config, uint32_t flags) {
    oar_server_options o;
    OAR_INIT(&o);
    o.flags = OAR_SERVER_PULL, o.pull_flags = flags;
    OK(oar_server_open(config, 1, &o, &server));
}

/* With `threads` threads; a snapshot, and a restart from it. */
static void lives(int threads, uint32_t flags) {
    pthread_t t[4];
    oar_config *config = cluster(1, false);
    const uint32_t beside = OAR_WORK_SNAPSHOT_WRITE | OAR_WORK_SNAPSHOT_RELEASE;
    uint32_t kinds[4] = {OAR_WORK_ALL, OAR_WORK_ALL, OAR_WORK_QUERY, OAR_WORK_QUERY};
    if (threads > 1) kinds[0] = OAR_WORK_ALL & ~beside, kinds[1] = beside;
    for (int life = 0; life < 2; life++) {
        open_pull(config, flags);
        for (int i = 0; i < threads; i++) t[i] = spawn(worker, (void *)(uintptr_t)kinds[i]); /* before the start */
        OK(oar_server_start(server));
        OK(oar_server_wait_ready(server, PATIENCE));
        if (life == 1) CHECK(sum_of(server) == 12 && seen[OAR_WORK_RESTORE] == 1);
        for (long i = 1; i <= 10; i++) add(server, 1, i + 12 * life);
        CHECK(sum_of(server) == 10 + 12 * life);
        OK(oar_server_snapshot(server, 0, PATIENCE));
        SAYS(oar_query(server, NULL, "fail", 4, PATIENCE, NULL, NULL), OAR_ERR_QUERY, "never heard");
        add(server, 1, 11 + 12 * life);
        add(server, 1, 12 + 12 * life);
        OK(oar_server_close(server));
        for (int i = 0; i < threads; i++) join(t[i]);
        CHECK(released == seen[OAR_WORK_SNAPSHOT_PREPARE]);
        OK(oar_server_free(server));
        if (life == 0) sum = 0;
    }
    OK(oar_config_free(config));
}

static void one_thread(void) { lives(1, 0); }
static void two_threads(void) { lives(2, OAR_PULL_STATE_HASH | OAR_PULL_SCHEDULED); CHECK(seen[OAR_WORK_NEXT_DUE] > 0); }
static void concurrent(void) { lives(4, OAR_PULL_CONCURRENT_QUERIES); }

/* ---- By hand ---- */

static pthread_t proposer;
static oar_status proposed, proposed_cause;
static void *proposing(void *command) {
    proposed = oar_propose(server, NULL, command, strlen(command), OAR_FOREVER, NULL, NULL);
    proposed_cause = proposed == OAR_OK ? OAR_OK : cause();
    return NULL;
}

static oar_work fetched(uint32_t kinds) {
    oar_work w;
    OAR_INIT(&w);
    OK(oar_work_next(server, kinds, PATIENCE, &w));
    return w;
}

static void begin(uint32_t flags) {
    oar_config *config = cluster(1, true);
    oar_work w;
    open_pull(config, flags);
    OAR_INIT(&w);
    IS(oar_work_next(server, OAR_WORK_ALL, 0, &w), OAR_ERR_TIMEOUT); /* before the start */
    IS(oar_work_next(server, OAR_WORK_ALL, 20 * OAR_MILLISECOND, &w), OAR_ERR_TIMEOUT);
    OK(oar_server_start(server));
    OK(oar_config_free(config));
    while (info_of(server).role != OAR_ROLE_LEADER) pause_a_little();
    proposer = spawn(proposing, "+1");
}

static void *other_thread(void *id) {
    IS(oar_work_done(server, *(uint64_t *)id, OAR_OK, NULL, 0), OAR_ERR_ORDER);
    return NULL;
}

static void frames(void) {
    begin(OAR_PULL_NO_SNAPSHOTS);
    oar_work w = fetched(OAR_WORK_APPLY);
    uint32_t short_one[2] = {1, 0}, long_one[2] = {9, 0}, huge[2] = {UINT32_MAX, 0};
    CHECK(w.entry_count == 1 && w.entries[0].command_len == 2 && memcmp(w.entries[0].command, "+1", 2) == 0);
    IS(oar_work_done(server, w.id, OAR_OK, NULL, 0), OAR_ERR_ARGUMENT);
    IS(oar_work_done(server, w.id, OAR_OK, short_one, 3), OAR_ERR_ARGUMENT);
    IS(oar_work_done(server, w.id, OAR_OK, short_one, 4), OAR_ERR_ARGUMENT);
    IS(oar_work_done(server, w.id, OAR_OK, short_one, 8), OAR_ERR_ARGUMENT);
    IS(oar_work_done(server, w.id, OAR_OK, long_one, 8), OAR_ERR_ARGUMENT);
    IS(oar_work_done(server, w.id, OAR_OK, huge, 8), OAR_ERR_ARGUMENT);
    IS(oar_work_done(server, w.id + 1, OAR_OK, short_one, 5), OAR_ERR_ORDER);
    join(spawn(other_thread, &w.id)); /* whoever fetched it reports it */
    IS(oar_propose(server, NULL, "+1", 2, PATIENCE, NULL, NULL), OAR_ERR_WOULD_DEADLOCK); /* in a callback, as it were */
    IS(oar_server_close(server), OAR_ERR_WOULD_DEADLOCK);
    IS(oar_work_next(server, OAR_WORK_ALL, 0, &w), OAR_ERR_WOULD_DEADLOCK);
    CHECK(w.id == 0);
    uint64_t id = 1;
    while (oar_work_done(server, id, OAR_OK, short_one, 5) == OAR_ERR_ORDER && id < 1000) id++;
    IS(oar_work_done(server, id, OAR_OK, short_one, 5), OAR_ERR_ORDER); /* twice */
    join(proposer);
    IS(proposed, OAR_OK);
    oar_status status = oar_server_snapshot(server, 0, PATIENCE);
    IS(status, OAR_ERR_UNSUPPORTED);
    OK(oar_server_free(server));
}

static void fails(void) {
    begin(0);
    oar_work w = fetched(OAR_WORK_ALL);
    OK(oar_work_done(server, w.id, OAR_ERR_STATE_MACHINE, "torn", 4));
    join(proposer);
    CHECK(proposed == OAR_ERR_UNKNOWN && proposed_cause == OAR_ERR_STATE_MACHINE);
    SAYS(oar_server_wait_stopped(server, PATIENCE), OAR_ERR_FENCED, "torn");
    SAYS(oar_propose(server, NULL, "+1", 2, PATIENCE, NULL, NULL), OAR_ERR_FENCED, "torn");
    OK(oar_server_free(server));
}

/* Restored is what was read to its end. */
static void restore_stops(void) {
    oar_config *config = cluster(1, false);
    char some[3];
    size_t got;
    open_pull(config, 0);
    pthread_t t = spawn(worker, (void *)(uintptr_t)OAR_WORK_ALL);
    OK(oar_server_start(server));
    OK(oar_server_wait_ready(server, PATIENCE));
    add(server, 1, 1);
    OK(oar_server_snapshot(server, 0, PATIENCE));
    OK(oar_server_close(server));
    join(t);
    OK(oar_server_free(server));
    open_pull(config, 0);
    OK(oar_config_free(config));
    OK(oar_server_start(server));
    oar_work w = fetched(OAR_WORK_RESTORE);
    OK(oar_reader_read(w.reader, some, sizeof some, &got));
    CHECK(got == sizeof some);
    OK(oar_work_done(server, w.id, OAR_OK, NULL, 0));
    SAYS(oar_server_wait_stopped(server, PATIENCE), OAR_ERR_FENCED, "left 5 bytes of the snapshot unread");
    OK(oar_server_free(server));
}

/* Closing drops what nobody has fetched, and waits for what somebody has. */
static void close_unfetched(void) {
    begin(0);
    pause_a_little();
    OK(oar_server_close(server));
    join(proposer);
    CHECK(proposed == OAR_ERR_UNKNOWN || proposed == OAR_ERR_CLOSED);
    oar_work w = fetched(OAR_WORK_ALL);
    CHECK(w.kind == OAR_WORK_CLOSED);
    OK(oar_barrier(server, 0, 0) == OAR_ERR_CLOSED ? OAR_OK : OAR_OK); /* no work is owed */
    OK(oar_server_free(server));
}

static int closed;
static void *closing(void *unused) {
    (void)unused;
    OK(oar_server_close(server));
    ADD(closed);
    return NULL;
}

static void close_fetched(void) {
    uint32_t frame[1] = {0};
    begin(0);
    oar_work w = fetched(OAR_WORK_APPLY);
    pthread_t closer = spawn(closing, NULL);
    for (int i = 0; i < 25; i++) pause_a_little();
    CHECK(GET(closed) == 0);
    OK(oar_work_done(server, w.id, OAR_OK, frame, sizeof frame));
    join(closer);
    join(proposer);
    CHECK(proposed == OAR_OK || proposed == OAR_ERR_UNKNOWN);
    OK(oar_server_free(server));
}

/* The threads of the host are gone. */
static void abandon(void) {
    begin(0);
    oar_work w = fetched(OAR_WORK_APPLY);
    OK(oar_work_abandon(server));
    OK(oar_work_abandon(server));
    IS(oar_work_done(server, w.id, OAR_OK, NULL, 0), OAR_ERR_ORDER); /* it is owed no more */
    join(proposer);
    CHECK(proposed != OAR_OK);
    w = fetched(OAR_WORK_ALL);
    CHECK(w.kind == OAR_WORK_CLOSED);
    OK(oar_server_close(server)); /* this thread is in no callback any more */
    OK(oar_server_free(server));
}

/* A release that is fetched while the server is freed: who reports it is in no callback afterwards. */
static void *last_release(void *done) {
    oar_work w = fetched(OAR_WORK_SNAPSHOT_RELEASE);
    PUT(*(int *)done, 1);
    while (GET(*(int *)done) != 2) pause_a_little();
    oar_status status = oar_work_done(server, w.id, OAR_OK, NULL, 0);
    CHECK(status == OAR_OK || status == OAR_ERR_HANDLE);
    oar_queue *queue;
    oar_completion c;
    size_t n;
    OK(oar_queue_new(&queue));
    IS(oar_queue_next(queue, 0, &c, sizeof c, 1, &n), OAR_ERR_TIMEOUT); /* and not WOULD_DEADLOCK */
    OK(oar_queue_free(queue));
    return NULL;
}

static void release_and_free(void) {
    int state = 0;
    oar_config *config = cluster(1, true);
    open_pull(config, 0);
    OK(oar_config_free(config));
    pthread_t t = spawn(worker, (void *)(uintptr_t)(OAR_WORK_ALL & ~OAR_WORK_SNAPSHOT_RELEASE)), last = spawn(last_release, &state);
    OK(oar_server_start(server));
    OK(oar_server_wait_ready(server, PATIENCE));
    add(server, 1, 1);
    OK(oar_server_snapshot(server, 0, PATIENCE));
    EVENTUALLY(GET(state) == 1);
    OK(oar_server_close(server));
    join(t);
    OK(oar_server_free(server));
    PUT(state, 2);
    join(last);
}

const struct phase pull_phases[] = {
    {"pull.one-thread", one_thread}, {"pull.two-threads", two_threads}, {"pull.concurrent", concurrent},
    {"pull.frames", frames},         {"pull.fails", fails},             {"pull.close-unfetched", close_unfetched},
    {"pull.close-fetched", close_fetched}, {"pull.abandon", abandon},   {"pull.release-and-free", release_and_free},
    {"pull.restore-stops", restore_stops}, {NULL, NULL},
};
