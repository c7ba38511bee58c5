/* Closing and freeing while many threads are inside. */
#include "harness.h"

enum { EACH = 10, WAYS = 6 };
static struct machine machine;
static oar_server *server, *pulled;
static oar_client *client;
static oar_queue *queue;
static oar_events *events;
static oar_call *call;
static int inside;

struct end {
    oar_status status, cause;
};

static oar_status wait_one(int way) {
    oar_completion c;
    oar_event e;
    oar_work w;
    size_t n;
    OAR_INIT(&e);
    OAR_INIT(&w);
    ADD(inside);
    switch (way) {
    case 0: return oar_propose(server, NULL, "+1", 2, OAR_FOREVER, NULL, NULL);
    case 1: return oar_query(server, NULL, NULL, 0, OAR_FOREVER, NULL, NULL);
    case 2: return oar_call_wait(call, OAR_FOREVER, NULL, NULL);
    case 3: return oar_client_propose(client, NULL, "+1", 2, OAR_FOREVER, NULL, NULL);
    case 4: return oar_work_next(pulled, OAR_WORK_APPLY, OAR_FOREVER, &w) == OAR_OK && w.kind == OAR_WORK_CLOSED ? OAR_ERR_CLOSED : OAR_OK;
    default: break;
    }
    if (way == 5) return oar_server_wait_stopped(server, OAR_FOREVER);
    return way == 6 ? oar_queue_next(queue, OAR_FOREVER, &c, sizeof c, 1, &n) : oar_events_next(events, OAR_FOREVER, &e);
}

static struct end ends[WAYS * EACH + 2];
static void *waiting(void *at) {
    int i = (int)(intptr_t)at;
    ends[i].status = wait_one(i < WAYS * EACH ? i / EACH : 6 + i - WAYS * EACH);
    if (ends[i].status != OAR_OK) ends[i].cause = cause();
    return NULL;
}

static oar_server *pull(oar_config *config) {
    oar_server_options o;
    oar_server *s;
    OAR_INIT(&o);
    o.flags = OAR_SERVER_PULL, o.pull_flags = OAR_PULL_NO_SNAPSHOTS;
    OK(oar_server_open(config, 1, &o, &s));
    OK(oar_server_start(s));
    return s;
}

/* 62 threads wait for a machine that does not answer; then everything is closed, in one of two ways. */
static void waiters(bool shutdown) {
    pthread_t threads[WAYS * EACH + 2];
    oar_event e;
    machine_init(&machine);
    oar_config *config = cluster(1, true), *second = cluster(1, true);
    server = started(config, 1, &machine_plain, &machine);
    OK(oar_events_open(server, NULL, &events));
    OK(oar_server_wait_ready(server, PATIENCE));
    OK(oar_client_open(config, NULL, &client));
    OK(oar_queue_new(&queue));
    pulled = pull(second);
    OK(oar_propose_start(server, NULL, "gate", 4, &call));
    EVENTUALLY(gate_inside(&machine.gate) == 1);
    OAR_INIT(&e);
    while (oar_events_next(events, 100 * OAR_MILLISECOND, &e) == OAR_OK) OAR_INIT(&e);
    for (int i = 0; i < WAYS * EACH + 2; i++) threads[i] = spawn(waiting, (void *)(intptr_t)i);
    EVENTUALLY(GET(inside) == WAYS * EACH + 2);
    gate_open(&machine.gate);
    if (shutdown) {
        OK(oar_shutdown(PATIENCE));
    } else {
        OK(oar_client_free(client));
        OK(oar_server_free(pulled));
        OK(oar_server_free(server));
        OK(oar_call_free(call));
    }
    OK(oar_queue_close(queue));
    for (int i = 0; i < WAYS * EACH + 2; i++) join(threads[i]);
    for (int i = 0; i < WAYS * EACH + 2; i++) {
        oar_status s = ends[i].status;
        bool defined = s == OAR_OK || s == OAR_ERR_CLOSED || s == OAR_ERR_UNKNOWN || s == OAR_ERR_ORDER || s == OAR_ERR_HANDLE || s == OAR_ERR_NOT_SENT;
        if (!defined) fail_at(__FILE__, __LINE__, "way %d came out with %s", i / EACH, oar_status_name(s));
    }
    if (shutdown) {
        OK(oar_client_free(client));
        OK(oar_server_free(pulled));
        OK(oar_server_free(server));
        OK(oar_call_free(call));
    }
    OK(oar_queue_free(queue));
    OK(oar_events_free(events));
    OK(oar_config_free(config));
    OK(oar_config_free(second));
}

static void by_free(void) { waiters(false); }
static void by_shutdown(void) { waiters(true); }

/* Freeing what one thread waits in, for each kind of handle that can be waited in. */
static void *in_queue(void *at) {
    oar_completion c;
    size_t n;
    ADD(inside);
    oar_status status = oar_queue_next(at, OAR_FOREVER, &c, sizeof c, 1, &n);
    CHECK(status == OAR_ERR_CLOSED || status == OAR_ERR_HANDLE);
    return NULL;
}
static void *in_events(void *at) {
    oar_event e;
    OAR_INIT(&e);
    ADD(inside);
    oar_status status;
    while ((status = oar_events_next(at, OAR_FOREVER, &e)) == OAR_OK) OAR_INIT(&e);
    CHECK(status == OAR_ERR_CLOSED || status == OAR_ERR_HANDLE);
    return NULL;
}
static void freed(void) {
    machine_init(&machine);
    server = single(&machine_plain, &machine);
    for (int i = 0; i < 20; i++) {
        PUT(inside, 0);
        OK(oar_queue_new(&queue));
        OK(oar_events_open(server, NULL, &events));
        pthread_t a = spawn(in_queue, queue), b = spawn(in_events, events);
        EVENTUALLY(GET(inside) == 2);
        if (i % 2) pause_a_little();
        OK(oar_queue_free(queue));
        OK(oar_events_free(events));
        join(a);
        join(b);
    }
    OK(oar_server_free(server));
}

/* ---- Freeing under load ---- */

enum { THREADS = 24, ROUNDS = 4 };
static int stop, called_back, submitted;

static void done(void *user_data, const oar_completion *c) {
    (void)user_data, (void)c;
    ADD(called_back);
}

static void one_call(unsigned *seed) {
    void *r = NULL;
    size_t n;
    oar_call *c;
    oar_propose_options o;
    OAR_INIT(&o);
    switch (rand_r(seed) % 9) {
    case 0: (void)oar_propose(server, NULL, "+1", 2, OAR_SECOND, &r, &n); break;
    case 1: if (oar_propose_async(server, NULL, "+1", 2, done, NULL) == OAR_OK) ADD(submitted); break;
    case 2: (void)oar_propose_queued(server, NULL, "+1", 2, queue, 7); break;
    case 3:
        if (oar_propose_start(server, NULL, "+1", 2, &c) != OAR_OK) break;
        if (rand_r(seed) % 2) (void)oar_call_cancel(c);
        (void)oar_call_wait(c, rand_r(seed) % 1000000, &r, &n);
        OK(oar_call_free(c));
        break;
    case 4: (void)oar_query(server, NULL, NULL, 0, OAR_SECOND, &r, &n); break;
    case 5: (void)oar_propose(server, NULL, "+1", 2, rand_r(seed) % 100000, &r, &n); break;
    case 6: (void)oar_client_propose(client, NULL, "+1", 2, rand_r(seed) % 3000000, &r, &n); break;
    case 7:
        o.timeout = 1 + rand_r(seed) % 500000;
        if (oar_propose_async(server, &o, "+1", 2, done, NULL) == OAR_OK) ADD(submitted);
        break;
    default:
        o.timeout = 1 + rand_r(seed) % 900000;
        (void)oar_client_propose_queued(client, &o, "+1", 2, queue, 8);
    }
    oar_free(r);
}

static void *calling(void *at) {
    unsigned seed = (unsigned)(uintptr_t)at;
    while (!GET(stop)) one_call(&seed);
    return NULL;
}

static void *taking(void *unused) {
    oar_completion c[64];
    size_t n;
    (void)unused;
    while (oar_queue_next(queue, OAR_FOREVER, c, sizeof c[0], 64, &n) == OAR_OK) continue;
    return NULL;
}

static void load(void) {
    for (int round = 0; round < ROUNDS; round++) {
        pthread_t threads[THREADS], taker;
        machine_init(&machine);
        oar_config *config = cluster(1, true);
        server = started(config, 1, &machine_plain, &machine);
        OK(oar_server_wait_ready(server, PATIENCE));
        OK(oar_client_open(config, NULL, &client));
        OK(oar_queue_new(&queue));
        PUT(stop, 0);
        taker = spawn(taking, NULL);
        for (int i = 0; i < THREADS; i++) threads[i] = spawn(calling, (void *)(intptr_t)(round * 100 + i));
        EVENTUALLY(GET(machine.applied) > 2000);
        if (round % 2 == 0) { /* with everybody inside */
            OK(oar_server_free(server));
            OK(oar_client_free(client));
        }
        PUT(stop, 1);
        for (int i = 0; i < THREADS; i++) join(threads[i]);
        if (round % 2 == 1) {
            OK(oar_client_free(client));
            OK(oar_server_free(server));
        }
        OK(oar_queue_close(queue));
        join(taker);
        OK(oar_queue_free(queue));
        OK(oar_config_free(config));
        CHECK(GET(called_back) == GET(submitted)); /* exactly once each, and none later */
    }
}

const struct phase closing_phases[] = {
    {"closing.free", by_free}, {"closing.shutdown", by_shutdown}, {"closing.freed", freed}, {"closing.load", load}, {NULL, NULL},
};
