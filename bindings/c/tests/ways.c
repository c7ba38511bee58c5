/* Proposals and queries that are called back or queued. */
#include "harness.h"

static struct machine machine;
static oar_server *server;
static oar_client *client; /* of the same server */

static void begin(void) {
    machine_init(&machine);
    oar_config *config = cluster(1, true);
    server = started(config, 1, &machine_plain, &machine);
    OK(oar_server_wait_ready(server, PATIENCE));
    OK(oar_client_open(config, NULL, &client));
    OK(oar_config_free(config));
}

static void end(void) {
    OK(oar_client_free(client));
    OK(oar_server_free(server));
}

struct note {
    int called;
    oar_status status, cause;
    uint32_t class_bits;
    char result[64], text[256];
};

static void note(void *user_data, const oar_completion *c) {
    struct note *n = user_data;
    CHECK(c->struct_size >= sizeof *c && c->text != NULL && c->leader_address != NULL);
    CHECK(c->class_bits == (oar_status_class(c->status) | (oar_status_class(c->cause) & OAR_CLASS_FATAL)));
    n->status = c->status;
    n->cause = c->cause;
    n->class_bits = c->class_bits;
    (void)snprintf(n->text, sizeof n->text, "%s", c->text);
    size_t len = c->result_len < sizeof n->result - 1 ? c->result_len : sizeof n->result - 1;
    if (len > 0) memcpy(n->result, c->result, len);
    n->result[len] = '\0';
    ADD(n->called);
}

static void async(void) {
    enum { EACH = 500 };
    static struct note notes[4 * EACH];
    begin();
    for (int i = 0; i < EACH; i++) {
        OK(oar_propose_async(server, NULL, "+1", 2, note, &notes[i]));
        OK(oar_query_async(server, NULL, NULL, 0, note, &notes[EACH + i]));
        OK(oar_client_propose_async(client, NULL, "+1", 2, note, &notes[2 * EACH + i]));
        OK(oar_client_query_async(client, NULL, NULL, 0, note, &notes[3 * EACH + i]));
    }
    for (int i = 0; i < 4 * EACH; i++) EVENTUALLY(GET(notes[i].called) > 0);
    end();
    for (int i = 0; i < 4 * EACH; i++) {
        CHECK(notes[i].called == 1 && notes[i].status == OAR_OK && notes[i].text[0] == '\0');
        if (i > 0 && i < EACH) CHECK(atol(notes[i].result) > atol(notes[i - 1].result)); /* in the order of the calls */
    }
    CHECK(machine.sum == 2 * EACH);
}

/* A chain: each completion proposes the next command. */
static int left;
static bool chain_of_client;
static void next(void *user_data, const oar_completion *c) {
    if (c->status != OAR_OK) fail_at(__FILE__, __LINE__, "%s", c->text);
    if (__atomic_sub_fetch(&left, 1, __ATOMIC_SEQ_CST) < 0) return;
    OK(chain_of_client ? oar_client_propose_async(client, NULL, "+1", 2, next, user_data)
                       : oar_propose_async(server, NULL, "+1", 2, next, user_data));
}

static void again(void) {
    begin();
    for (int round = 0; round < 2; round++) {
        chain_of_client = round == 1;
        PUT(left, 2000);
        for (int i = 0; i < 16; i++) OK(oar_propose_async(server, NULL, "+1", 2, next, NULL));
        EVENTUALLY(GET(left) <= -16);
    }
    CHECK(sum_of(server) == 2 * 2016);
    end();
}

/* Two servers that refuse at once, each with a completion that tries the other one: nobody waits for itself. */
static oar_server *pair[2];
static int refusals;
static void other_one(void *user_data, const oar_completion *c) {
    static char large[3 << 20];
    oar_server *to = user_data == pair[0] ? pair[1] : pair[0];
    CHECK(c->status == OAR_ERR_NO_GROUP || c->status == OAR_ERR_TOO_LARGE);
    if (ADD(refusals) < 20) OK(oar_propose_async(to, NULL, large, sizeof large, other_one, to));
}

static void refused_at_once(void) {
    struct machine second;
    oar_propose_options o;
    OAR_INIT(&o);
    o.group = 9;
    machine_init(&machine);
    machine_init(&second);
    pair[0] = single(&machine_plain, &machine);
    pair[1] = single(&machine_plain, &second);
    OK(oar_propose_async(pair[0], &o, "+1", 2, other_one, pair[0]));
    EVENTUALLY(GET(refusals) == 20);
    OK(oar_server_free(pair[0]));
    OK(oar_server_free(pair[1]));
}

/* options.timeout: what is late ends by itself, once, and what comes later is dropped. */
static void timeouts(void) {
    static struct note p, q, c, f;
    oar_propose_options po;
    oar_query_options qo;
    begin();
    OAR_INIT(&po);
    OAR_INIT(&qo);
    po.timeout = qo.timeout = 500 * OAR_MILLISECOND;
    OK(oar_propose_async(server, NULL, "gate", 4, note, &f)); /* holds everything up */
    EVENTUALLY(gate_inside(&machine.gate) == 1);
    OK(oar_propose_async(server, &po, "+1", 2, note, &p));
    OK(oar_query_async(server, &qo, NULL, 0, note, &q));
    OK(oar_client_propose_async(client, &po, "+1", 2, note, &c));
    EVENTUALLY(GET(p.called) + GET(q.called) + GET(c.called) == 3);
    CHECK(p.status == OAR_ERR_UNKNOWN && p.cause == OAR_ERR_TIMEOUT && p.class_bits == OAR_CLASS_MAYBE_COMMITTED && p.text[0] != '\0');
    CHECK(q.status == OAR_ERR_TIMEOUT && q.class_bits == OAR_CLASS_RETRYABLE);
    CHECK((c.status == OAR_ERR_UNKNOWN || c.status == OAR_ERR_NOT_SENT) && c.cause == OAR_ERR_TIMEOUT);
    IS(oar_propose(server, NULL, "+1", 2, 500 * OAR_MILLISECOND, NULL, NULL), OAR_ERR_UNKNOWN);
    CHECK(cause() == OAR_ERR_TIMEOUT);
    IS(oar_query(server, NULL, NULL, 0, 30 * OAR_MILLISECOND, NULL, NULL), OAR_ERR_TIMEOUT);
    IS(oar_barrier(server, 0, 30 * OAR_MILLISECOND), OAR_ERR_TIMEOUT);
    uint64_t session = 1;
    IS(oar_session_open(server, 0, 500 * OAR_MILLISECOND, &session), OAR_ERR_UNKNOWN);
    CHECK(session == 0);
    CHECK(GET(f.called) == 0);
    gate_open(&machine.gate);
    EVENTUALLY(GET(f.called) == 1);
    po.timeout = qo.timeout = PATIENCE; /* in time */
    OK(oar_propose_async(server, &po, "+1", 2, note, &p));
    OK(oar_query_async(server, &qo, NULL, 0, note, &q));
    EVENTUALLY(GET(p.called) + GET(q.called) == 4);
    CHECK(p.status == OAR_OK && q.status == OAR_OK);
    end();
    CHECK(p.called == 2 && q.called == 2 && c.called == 1);
}

static void failures(void) {
    static struct note n;
    begin();
    OK(oar_query_async(server, NULL, "fail not today", 14, note, &n));
    EVENTUALLY(GET(n.called) == 1);
    CHECK(n.status == OAR_ERR_QUERY);
    HAS(n.text, "not today");
    OK(oar_server_close(server));
    IS(oar_propose_async(server, NULL, "+1", 2, note, &n), OAR_ERR_CLOSED); /* then it never comes */
    OK(oar_client_close(client));
    oar_status status = oar_client_propose_async(client, NULL, "+1", 2, note, &n);
    CHECK(status == OAR_OK || status == OAR_ERR_CLOSED);
    if (status == OAR_OK) EVENTUALLY(GET(n.called) == 2);
    if (status == OAR_OK) CHECK(n.status == OAR_ERR_CLOSED);
    end();
    CHECK(n.called == 1 + (status == OAR_OK));
}

/* ---- Queues ---- */

static void queues(void) {
    enum { EACH = 500, MOST = 64 };
    static int seen[4 * EACH];
    oar_completion c[MOST];
    oar_queue *queue;
    size_t n, all = 0;
    begin();
    OK(oar_queue_new(&queue));
    IS(oar_queue_next(queue, 0, c, sizeof c[0], MOST, &n), OAR_ERR_TIMEOUT);
    IS(oar_queue_next(queue, 20 * OAR_MILLISECOND, c, sizeof c[0], MOST, &n), OAR_ERR_TIMEOUT);
    CHECK(n == 0);
    for (uint64_t i = 0; i < EACH; i++) {
        OK(oar_propose_queued(server, NULL, "+1", 2, queue, i));
        OK(oar_query_queued(server, NULL, NULL, 0, queue, EACH + i));
        OK(oar_client_propose_queued(client, NULL, "+1", 2, queue, 2 * EACH + i));
        OK(oar_client_query_queued(client, NULL, NULL, 0, queue, 3 * EACH + i));
    }
    OK(oar_queue_close(queue));
    SAYS(oar_propose_queued(server, NULL, "+1", 2, queue, 0), OAR_ERR_CLOSED, "queue");
    IS(oar_client_query_queued(client, NULL, NULL, 0, queue, 0), OAR_ERR_CLOSED);
    for (;;) { /* what is under way still comes */
        oar_status status = oar_queue_next(queue, PATIENCE, c, sizeof c[0], MOST, &n);
        if (status == OAR_ERR_CLOSED) break;
        OK(status);
        CHECK(n >= 1 && n <= MOST);
        for (size_t i = 0; i < n; i++) {
            CHECK(c[i].struct_size == sizeof c[i] && c[i].status == OAR_OK && c[i].result_len > 0 && c[i].tag < 4 * EACH);
            CHECK(c[i].text[0] == '\0' && seen[c[i].tag]++ == 0);
        }
        all += n;
    }
    CHECK(all == 4 * EACH && sum_of(server) == 2 * EACH);
    IS(oar_queue_next(queue, OAR_FOREVER, c, sizeof c[0], MOST, &n), OAR_ERR_CLOSED);
    OK(oar_queue_close(queue));
    OK(oar_queue_free(queue));
    end();
}

static void *take(void *at) {
    oar_completion c[8];
    size_t n;
    oar_status status;
    while ((status = oar_queue_next(at, OAR_FOREVER, c, sizeof c[0], 8, &n)) == OAR_OK) continue;
    CHECK(status == OAR_ERR_CLOSED || status == OAR_ERR_HANDLE);
    return NULL;
}

/* A queue that is freed with calls under way and a thread inside. */
static void freed_queue(void) {
    oar_queue *queue;
    oar_propose_options o;
    begin();
    OK(oar_queue_new(&queue));
    pthread_t taker = spawn(take, queue);
    OK(oar_propose_queued(server, NULL, "gate", 4, queue, 0));
    EVENTUALLY(gate_inside(&machine.gate) == 1);
    OAR_INIT(&o);
    o.timeout = 50 * OAR_MILLISECOND;
    for (uint64_t i = 0; i < 100; i++) OK(oar_propose_queued(server, i % 2 ? &o : NULL, "+1", 2, queue, i));
    for (uint64_t i = 0; i < 100; i++) OK(oar_client_propose_queued(client, NULL, "+1", 2, queue, i));
    OK(oar_queue_free(queue));
    join(taker);
    IS(oar_queue_free(queue), OAR_ERR_HANDLE);
    CHECK(counts().queues == 0);
    gate_open(&machine.gate);
    EVENTUALLY(GET(machine.sum) >= 100);
    end();
}

/* A batch stays valid until the next one is taken. */
static void batches(void) {
    oar_completion first, second;
    oar_queue *queue;
    size_t n;
    begin();
    OK(oar_queue_new(&queue));
    OK(oar_propose_queued(server, NULL, "big 1000", 8, queue, 1));
    OK(oar_query_queued(server, NULL, "fail with this", 14, queue, 2));
    OK(oar_queue_next(queue, OAR_FOREVER, &first, sizeof first, 1, &n));
    EVENTUALLY(GET(machine.queried) == 1);
    OK(oar_propose_queued(server, NULL, "+1", 2, queue, 3));
    add(server, 1, 2);
    CHECK(first.tag == 1 && first.result_len == 1000 && ((const char *)first.result)[999] == 'x');
    OK(oar_queue_next(queue, OAR_FOREVER, &second, sizeof second, 1, &n));
    CHECK(second.tag == 2 && second.status == OAR_ERR_QUERY);
    HAS(second.text, "with this");
    OK(oar_queue_free(queue)); /* with one that was not taken */
    end();
}

const struct phase ways_phases[] = {
    {"ways.async", async},       {"ways.again", again},     {"ways.refused-at-once", refused_at_once},
    {"ways.timeouts", timeouts}, {"ways.failures", failures}, {"ways.queues", queues},
    {"ways.freed-queue", freed_queue}, {"ways.batches", batches}, {NULL, NULL},
};
