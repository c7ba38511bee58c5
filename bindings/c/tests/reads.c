/* What the answers of queries reflect, at which servers. */
#include "harness.h"

enum { N = 3 };
static struct machine machines[N + 1][4];
static int made[N + 1];

static oar_status factory(void *user_data, uint64_t id, void **machine) {
    (void)user_data;
    CHECK(id >= 1 && id <= N && made[id] < 4);
    struct machine *m = &machines[id][made[id]++];
    machine_init(m);
    *machine = m;
    return OAR_OK;
}

static oar_cluster *three(const char *drift) {
    oar_cluster *c;
    oar_config *config = calm();
    oar_cluster_options o;
    OAR_INIT(&o);
    set(config, "timing.clock_drift_ppm", drift);
    o.machine = &machine_full, o.machine_new = factory, o.config = config;
    OK(oar_cluster_new(&o, &c));
    OK(oar_config_free(config));
    OK(oar_cluster_start(c, 0));
    return c;
}

static oar_server *server_of(oar_cluster *c, uint64_t id) {
    oar_server *s;
    OK(oar_cluster_server(c, id, &s));
    return s;
}

static uint64_t leader(oar_cluster *c) {
    uint64_t id;
    OK(oar_cluster_leader(c, PATIENCE, &id));
    return id;
}

static oar_query_options wanting(uint32_t consistency, int64_t max_age, uint64_t min_index) {
    oar_query_options o;
    OAR_INIT(&o);
    o.consistency = consistency, o.max_age = max_age, o.min_index = min_index;
    return o;
}

static long number(void *bytes, size_t len) {
    char text[32] = "";
    CHECK(len < sizeof text);
    memcpy(text, bytes, len);
    oar_free(bytes);
    return atol(text);
}

static oar_status sum_at(oar_server *server, oar_query_options o, long *sum) {
    void *got;
    size_t len;
    oar_status status = oar_query(server, &o, NULL, 0, PATIENCE, &got, &len);
    if (status == OAR_OK) *sum = number(got, len);
    return status;
}

/* Each level at each server, after each command. */
static void levels(void) {
    oar_cluster *c = three("200");
    oar_client *client;
    long sum;
    OK(oar_cluster_client(c, NULL, &client));
    for (long n = 1; n <= 20; n++) {
        uint64_t seen = 0;
        OK(oar_client_propose(client, NULL, "+1", 2, PATIENCE, NULL, NULL));
        OK(oar_client_seen(client, &seen));
        CHECK(seen > 0);
        for (uint64_t id = 1; id <= N; id++) {
            oar_server *s = server_of(c, id);
            OK(sum_at(s, wanting(OAR_LINEARIZABLE, 0, 0), &sum));
            CHECK(sum == n);
            OK(sum_at(s, wanting(OAR_LEASE, 0, 0), &sum));
            CHECK(sum == n);
            OK(sum_at(s, wanting(OAR_BOUNDED, 0, seen), &sum));
            CHECK(sum == n);
            OK(sum_at(s, wanting(OAR_BOUNDED, 60 * OAR_SECOND, 0), &sum));
            OK(sum_at(s, wanting(OAR_STALE, 0, 0), &sum));
            CHECK(sum == n); /* it was linearizable before */
            oar_query_options o = wanting(OAR_BOUNDED, 0, seen);
            OK(oar_barrier_at(s, &o, PATIENCE));
            OK(oar_barrier(s, 0, PATIENCE));
        }
    }
    EVENTUALLY(info_of(server_of(c, leader(c))).flags & OAR_GROUP_LEASE);
    OK(oar_client_free(client));
    OK(oar_cluster_free(c));
}

/* A server that is cut off answers what it may. */
static void cut_off(void) {
    oar_cluster *c = three("0");
    uint64_t alone = leader(c) % N + 1;
    oar_server *s = server_of(c, alone);
    oar_client *client;
    uint64_t seen;
    long sum;
    OK(oar_cluster_client(c, NULL, &client));
    OK(oar_client_propose(client, NULL, "+1", 2, PATIENCE, NULL, NULL));
    OK(oar_cluster_settle(c, PATIENCE));
    OK(oar_client_seen(client, &seen));
    OK(sum_at(s, wanting(OAR_LINEARIZABLE, 0, 0), &sum));
    OK(oar_cluster_split(c, &alone, 1));
    OK(oar_client_propose(client, NULL, "+1", 2, PATIENCE, NULL, NULL));
    oar_status status = sum_at(s, wanting(OAR_LINEARIZABLE, 0, 0), &sum);
    CHECK(status == OAR_ERR_NO_LEADER || status == OAR_ERR_NOT_LEADER);
    OK(sum_at(s, wanting(OAR_STALE, 0, 0), &sum));
    CHECK(sum == 1);
    OK(sum_at(s, wanting(OAR_BOUNDED, 3600 * OAR_SECOND, seen), &sum));
    CHECK(sum == 1);
    uint64_t later;
    OK(oar_client_seen(client, &later));
    CHECK(later > seen);
    IS(sum_at(s, wanting(OAR_BOUNDED, 0, later), &sum), OAR_ERR_BEHIND);
    CHECK(class_bits() == (OAR_CLASS_RETRYABLE | OAR_CLASS_REDIRECT));
    OK(oar_cluster_heal(c));
    EVENTUALLY(sum_at(s, wanting(OAR_BOUNDED, 0, later), &sum) == OAR_OK && sum == 2);
    OK(oar_client_free(client));
    OK(oar_cluster_free(c));
}

struct answered {
    int called;
    uint64_t index;
};
static void note(void *user_data, const oar_completion *completion) {
    struct answered *a = user_data;
    CHECK(completion->status == OAR_OK);
    a->index = completion->index;
    ADD(a->called);
}

/* Clients that read anywhere see their own commands, and never less than before. */
static void anywhere(void) {
    oar_cluster *c = three("0");
    oar_client *client, *reader;
    oar_client_options o;
    uint64_t seen, before = 0;
    void *got;
    size_t len;
    OAR_INIT(&o);
    o.flags = OAR_CLIENT_READ_ANY;
    OK(oar_cluster_client(c, &o, &client));
    OK(oar_cluster_client(c, &o, &reader));
    OK(oar_client_seen(client, &seen));
    CHECK(seen == 0);
    for (long n = 1; n <= 50; n++) {
        oar_query_options q = wanting(OAR_BOUNDED, 60 * OAR_SECOND, 0);
        OK(oar_client_propose(client, NULL, "+1", 2, PATIENCE, NULL, NULL));
        OK(oar_client_query(client, &q, NULL, 0, PATIENCE, &got, &len));
        CHECK(number(got, len) == n);
        OK(oar_client_query(client, NULL, NULL, 0, PATIENCE, &got, &len));
        CHECK(number(got, len) == n);
        OK(oar_client_seen(client, &seen));
        CHECK(seen > before);
        before = seen;
        q = wanting(OAR_BOUNDED, 0, seen); /* what one has seen, told to another */
        OK(oar_client_query(reader, &q, NULL, 0, PATIENCE, &got, &len));
        CHECK(number(got, len) == n);
    }
    struct answered p = {0, 0}, q = {0, 0};
    oar_server *s = server_of(c, leader(c));
    OK(oar_propose_async(s, NULL, "+1", 2, note, &p));
    EVENTUALLY(GET(p.called) == 1);
    OK(oar_query_async(s, NULL, NULL, 0, note, &q));
    EVENTUALLY(GET(q.called) == 1);
    CHECK(p.index > seen && q.index >= p.index);
    OK(oar_client_free(client));
    OK(oar_client_free(reader));
    OK(oar_cluster_free(c));
}

const struct phase reads_phases[] = {{"reads.levels", levels}, {"reads.cut-off", cut_off}, {"reads.anywhere", anywhere}, {NULL, NULL}};
