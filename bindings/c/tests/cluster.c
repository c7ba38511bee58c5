/* Clusters in memory. */
#include "harness.h"

enum { N = 3 };
static struct machine machines[N + 1][8]; /* of each server, one for each time that it starts */
static int made[N + 1];
static const char *factory_fails;

static oar_status factory(void *user_data, uint64_t id, void **machine) {
    CHECK(user_data == machines && id >= 1 && id <= N);
    if (factory_fails != NULL) return oar_fail(factory_fails);
    struct machine *m = &machines[id][made[id]++];
    CHECK(made[id] <= 8);
    machine_init(m);
    *machine = m;
    return OAR_OK;
}

static oar_cluster_options defaults(void) {
    oar_cluster_options o;
    OAR_INIT(&o);
    o.machine = &machine_full, o.machine_new = factory, o.machine_new_user_data = machines;
    return o;
}

static oar_cluster *cluster_with(oar_config *config) {
    oar_cluster *c;
    oar_cluster_options o = defaults();
    o.config = config;
    OK(oar_cluster_new(&o, &c));
    OK(oar_cluster_start(c, 0));
    return c;
}

static oar_cluster *calm_cluster(void) {
    oar_config *config = calm();
    oar_cluster *c = cluster_with(config);
    OK(oar_config_free(config));
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
    CHECK(id >= 1 && id <= N);
    return id;
}

static void client_add(oar_client *client, long n, long sum) {
    char command[32], text[32] = "";
    void *got;
    size_t len;
    (void)snprintf(command, sizeof command, "+%ld", n);
    OK(oar_client_propose(client, NULL, command, strlen(command), PATIENCE, &got, &len));
    CHECK(len < sizeof text);
    memcpy(text, got, len);
    oar_free(got);
    CHECK(atol(text) == sum);
}

static oar_client *client_of(oar_cluster *c) {
    oar_client *client;
    OK(oar_cluster_client(c, NULL, &client));
    return client;
}

static long newest_sum(uint64_t id) { return GET(machines[id][made[id] - 1].sum); }

/* Every machine was destroyed once, and every capture released. */
static void all_destroyed(void) {
    for (int id = 1; id <= N; id++)
        for (int i = 0; i < made[id]; i++)
            CHECK(machines[id][i].destroyed == 1 && machines[id][i].released == machines[id][i].prepared);
}

static void lives(void) {
    oar_cluster *c = calm_cluster();
    oar_client *client = client_of(c);
    client_add(client, 1, 1);
    add(server_of(c, leader(c)), 2, 3); /* at the leader itself; it has just proved that it leads */
    OK(oar_cluster_settle(c, PATIENCE));
    for (uint64_t id = 1; id <= N; id++) CHECK(newest_sum(id) == 3);
    CHECK(counts().servers == N && counts().clusters == 1 && counts().clients == 1);
    OK(oar_cluster_free(c));
    all_destroyed();
    CHECK(oar_client_propose(client, NULL, "+1", 2, 50 * OAR_MILLISECOND, NULL, NULL) != OAR_OK); /* nobody is left */
    OK(oar_client_free(client));
    CHECK(made[1] == 1 && made[2] == 1 && made[3] == 1);
}

/* The leader crashes, another one leads; a server that comes back has only its disk. */
static void survives_crashes(void) {
    oar_cluster *c = cluster_with(NULL);
    oar_client *client = client_of(c);
    long sum = 0;
    for (int round = 0; round < 6; round++) {
        uint64_t id = leader(c);
        for (int i = 0; i < 20; i++) sum++, client_add(client, 1, sum);
        if (round % 2 == 0) OK(oar_server_snapshot(server_of(c, id), 0, PATIENCE));
        OK(round % 3 == 2 ? oar_cluster_stop(c, id) : oar_cluster_crash(c, id));
        CHECK(machines[id][made[id] - 1].destroyed == 1);
        IS(oar_propose(server_of(c, id), NULL, "+1", 2, PATIENCE, NULL, NULL), OAR_ERR_CLOSED);
        for (int i = 0; i < 20; i++) sum++, client_add(client, 1, sum);
        OK(oar_cluster_start(c, id));
        OK(oar_cluster_settle(c, PATIENCE));
        for (uint64_t k = 1; k <= N; k++) CHECK(newest_sum(k) == sum);
    }
    OK(oar_client_free(client));
    OK(oar_cluster_free(c));
    all_destroyed();
    CHECK(made[1] + made[2] + made[3] == N + 6);
}

/* ---- While others propose ---- */

static int over;
static long told; /* the sum of what was answered, which is executed once */
static void *proposing(void *client) {
    while (!GET(over)) {
        char text[32] = "";
        void *got;
        size_t len;
        OK(oar_client_propose(client, NULL, "+1", 2, PATIENCE, &got, &len));
        memcpy(text, got, len);
        oar_free(got);
        CHECK(atol(text) > 0);
        (void)__atomic_add_fetch(&told, 1, __ATOMIC_SEQ_CST);
    }
    return NULL;
}

/* Power cuts in the middle of it lose nothing that was answered and repeat nothing. */
static void power_cuts(void) {
    oar_cluster *c = cluster_with(NULL);
    oar_client *client = client_of(c);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) threads[i] = spawn(proposing, client);
    for (int round = 0; round < 6; round++) {
        long before = GET(told);
        EVENTUALLY(GET(told) > before + 20);
        uint64_t id = leader(c);
        if (round % 3 == 2) {
            OK(oar_cluster_crash(c, 0)); /* all of them */
        } else {
            OK(oar_cluster_crash(c, id));
        }
        OK(oar_cluster_start(c, 0));
    }
    PUT(over, 1);
    for (int i = 0; i < 4; i++) join(threads[i]);
    OK(oar_cluster_settle(c, PATIENCE));
    for (uint64_t id = 1; id <= N; id++) CHECK(newest_sum(id) == told);
    OK(oar_client_free(client));
    OK(oar_cluster_free(c));
    all_destroyed();
}

/* ---- The network ---- */

static oar_status stale_sum(oar_server *server, long *sum) {
    char text[32] = "";
    void *got;
    size_t len;
    oar_query_options o;
    OAR_INIT(&o);
    o.consistency = OAR_STALE;
    oar_status status = oar_query(server, &o, NULL, 0, PATIENCE, &got, &len);
    if (status != OAR_OK) return status;
    memcpy(text, got, len);
    oar_free(got);
    *sum = atol(text);
    return OAR_OK;
}

static void split(void) {
    oar_cluster *c = calm_cluster();
    oar_client *client = client_of(c);
    uint64_t old = leader(c), now_leads;
    long sum = -1;
    client_add(client, 1, 1);
    OK(oar_cluster_settle(c, PATIENCE));
    OK(oar_cluster_split(c, &old, 1));
    do OK(oar_cluster_leader(c, PATIENCE, &now_leads));
    while (now_leads == old);
    add(server_of(c, now_leads), 1, 2);
    OK(stale_sum(server_of(c, old), &sum));
    CHECK(sum == 1); /* it has not heard of it */
    CHECK(oar_propose(server_of(c, old), NULL, "+1", 2, PATIENCE, NULL, NULL) != OAR_OK);
    SAYS(oar_cluster_settle(c, 300 * OAR_MILLISECOND), OAR_ERR_TIMEOUT, "has applied");
    OK(oar_cluster_heal(c));
    OK(oar_cluster_settle(c, PATIENCE));
    OK(stale_sum(server_of(c, old), &sum));
    CHECK(sum >= 2 && sum == newest_sum(now_leads));
    uint64_t all[N] = {1, 2, 3}, none = 0;
    OK(oar_cluster_split(c, all, N)); /* all on one side */
    OK(oar_cluster_split(c, NULL, 0));
    OK(oar_cluster_settle(c, PATIENCE));
    for (uint64_t from = 1; from <= N; from++) /* one way is enough to keep everybody apart */
        for (uint64_t to = 1; to < from; to++) OK(oar_cluster_cut(c, from, to));
    oar_status status;
    EVENTUALLY((status = oar_cluster_leader(c, 0, &none)) == OAR_ERR_TIMEOUT);
    CHECK(none == 0);
    IS(status, OAR_ERR_TIMEOUT);
    OK(oar_cluster_heal(c));
    OK(oar_cluster_settle(c, PATIENCE));
    OK(oar_client_free(client));
    OK(oar_cluster_free(c));
}

/* ---- Settings ---- */

static void settings(void) {
    oar_config *config;
    oar_cluster *c;
    config = calm();
    set(config, "limits.result_bytes_max", "1KiB");
    set(config, "snapshots.log_bytes", "4KiB"); /* so that snapshots come by themselves */
    c = cluster_with(config);
    set(config, "timing.election_timeout_min", "1h"); /* it was copied */
    OK(oar_config_free(config));
    oar_server *s = server_of(c, leader(c));
    IS(propose(s, "big 2000", NULL, 0), OAR_ERR_RESULT_TOO_LARGE);
    for (int i = 0; i < 400; i++) OK(propose(s, "+1", NULL, 0));
    OK(oar_cluster_settle(c, PATIENCE));
    EVENTUALLY(info_of(s).snapshot_index > 0);
    for (uint64_t id = 1; id <= N; id++) {
        OK(oar_cluster_crash(c, id));
        OK(oar_cluster_start(c, id));
        OK(oar_cluster_settle(c, PATIENCE));
        CHECK(newest_sum(id) == 400);
    }
    OK(oar_cluster_free(c));
    OK(oar_config_new(&config));
    set(config, "timing.heartbeat_interval", "10s"); /* cannot work */
    oar_cluster_options o = defaults();
    o.config = config;
    SAYS(oar_cluster_new(&o, &c), OAR_ERR_CONFIG, "heartbeat");
    OK(oar_config_free(config));
    o.config = NULL, o.servers = 1;
    OK(oar_cluster_new(&o, &c));
    OK(oar_cluster_start(c, 1));
    add(server_of(c, leader(c)), 5, 5);
    OK(oar_cluster_free(c));
}

/* ---- Misuse ---- */

static void misuse(void) {
    oar_cluster *c;
    oar_server *s = BOGUS(oar_server, 16), *first;
    oar_client *client;
    uint64_t id = 9, ids[2] = {1, 4};
    oar_client_options k;
    oar_cluster_options o = defaults();
    OK(oar_cluster_new(&o, &c));
    SAYS(oar_cluster_server(c, 1, &s), OAR_ERR_ORDER, "oar_cluster_start");
    CHECK(s == NULL);
    OK(oar_cluster_stop(c, 1)); /* what does not run */
    OK(oar_cluster_crash(c, 0));
    SAYS(oar_cluster_leader(c, 0, &id), OAR_ERR_TIMEOUT, "0 of 3 servers run");
    CHECK(id == 0);
    OK(oar_cluster_start(c, 2));
    OK(oar_cluster_start(c, 0)); /* the others */
    SAYS(oar_cluster_start(c, 2), OAR_ERR_ORDER, "server 2 was started already");
    OK(oar_cluster_start(c, 0));
    SAYS(oar_cluster_start(c, 4), OAR_ERR_NOT_FOUND, "1 to 3");
    IS(oar_cluster_stop(c, 4), OAR_ERR_NOT_FOUND);
    IS(oar_cluster_crash(c, UINT64_MAX), OAR_ERR_NOT_FOUND);
    IS(oar_cluster_server(c, 0, &s), OAR_ERR_NOT_FOUND);
    IS(oar_cluster_cut(c, 1, 0), OAR_ERR_NOT_FOUND);
    IS(oar_cluster_cut(c, 1, 1), OAR_ERR_ARGUMENT);
    IS(oar_cluster_split(c, ids, 2), OAR_ERR_NOT_FOUND);
    IS(oar_cluster_split(c, NULL, 1), OAR_ERR_ARGUMENT);
    IS(oar_cluster_leader(c, -2, &id), OAR_ERR_ARGUMENT);
    IS(oar_cluster_leader(c, OAR_FOREVER, NULL), OAR_ERR_ARGUMENT);
    IS(oar_cluster_settle(c, -2), OAR_ERR_ARGUMENT);
    IS(oar_cluster_server(c, 1, NULL), OAR_ERR_ARGUMENT);
    OAR_INIT(&k);
    k.servers = "memnet:1";
    SAYS(oar_cluster_client(c, &k, &client), OAR_ERR_ARGUMENT, "servers");
    CHECK(client == NULL);
    IS(oar_cluster_client(c, NULL, NULL), OAR_ERR_ARGUMENT);
    first = server_of(c, 1); /* it is the cluster's */
    SAYS(oar_server_start(first), OAR_ERR_ORDER, "oar_cluster_start");
    SAYS(oar_server_close(first), OAR_ERR_ORDER, "oar_cluster_stop");
    SAYS(oar_server_free(first), OAR_ERR_ORDER, "oar_cluster_stop");
    OK(oar_cluster_stop(c, 1));
    CHECK(server_of(c, 1) == first); /* closed, and still there */
    IS(oar_server_wait_ready(first, PATIENCE), OAR_ERR_CLOSED);
    OK(oar_cluster_start(c, 1));
    IS(oar_server_wait_ready(first, PATIENCE), OAR_ERR_HANDLE);
    CHECK(server_of(c, 1) != first);
    OK(oar_shutdown(PATIENCE)); /* everything is closed by it, and can go on */
    IS(oar_server_wait_ready(server_of(c, 2), PATIENCE), OAR_ERR_CLOSED);
    OK(oar_cluster_stop(c, 0));
    OK(oar_cluster_start(c, 0));
    OK(oar_cluster_settle(c, PATIENCE));
    s = server_of(c, 3);
    OK(oar_cluster_free(c));
    OK(oar_cluster_free(NULL));
    IS(oar_cluster_free(c), OAR_ERR_HANDLE);
    IS(oar_cluster_start(c, 0), OAR_ERR_HANDLE);
    IS(oar_cluster_heal(c), OAR_ERR_HANDLE);
    IS(oar_cluster_split(c, NULL, 0), OAR_ERR_HANDLE);
    IS(oar_server_wait_ready(s, 0), OAR_ERR_HANDLE);
    IS(oar_cluster_leader(BOGUS(oar_cluster, 77), 0, &id), OAR_ERR_HANDLE);
    IS(oar_cluster_free((oar_cluster *)(void *)s), OAR_ERR_HANDLE);
    all_destroyed();
}

static void wrong_options(void) {
    oar_cluster *c = BOGUS(oar_cluster, 16);
    oar_cluster_options o = defaults();
    oar_state_machine m = machine_full;
#define WRONG(change, status, part)                                                                                    \
    o = defaults();                                                                                                    \
    change;                                                                                                            \
    SAYS(oar_cluster_new(&o, &c), status, part);                                                                       \
    CHECK(c == NULL)
    IS(oar_cluster_new(&o, NULL), OAR_ERR_ARGUMENT);
    IS(oar_cluster_new(NULL, &c), OAR_ERR_ARGUMENT);
    WRONG(o.servers = 10, OAR_ERR_ARGUMENT, "1 to 9");
    WRONG(o.flags = 2, OAR_ERR_FLAGS, "flags");
    WRONG(o.pull_flags = OAR_PULL_STATE_HASH, OAR_ERR_FLAGS, "OAR_CLUSTER_PULL");
    WRONG(o.flags = OAR_CLUSTER_PULL, OAR_ERR_ARGUMENT, "one or the other");
    WRONG((o.flags = OAR_CLUSTER_PULL, o.machine = NULL), OAR_ERR_ARGUMENT, "one or the other");
    WRONG((o.flags = OAR_CLUSTER_PULL, o.machine = NULL, o.machine_new = NULL, o.pull_flags = 16), OAR_ERR_FLAGS, "pull_flags");
    WRONG(o.machine = NULL, OAR_ERR_ARGUMENT, "machine of");
    WRONG(o.machine_new = NULL, OAR_ERR_ARGUMENT, "machine_new");
    WRONG(o.config = BOGUS(oar_config, 16), OAR_ERR_HANDLE, "oar_config");
    m.apply = NULL;
    WRONG(o.machine = &m, OAR_ERR_ARGUMENT, "apply");
    m = machine_full, m.restore = NULL;
    WRONG(o.machine = &m, OAR_ERR_ARGUMENT, "restore");
    m = machine_full, m.struct_size = 8;
    WRONG(o.machine = &m, OAR_ERR_STRUCT_SIZE, "oar_state_machine");
    WRONG(o.struct_size = 4, OAR_ERR_STRUCT_SIZE, "oar_cluster_options");
    CHECK(counts().clusters == 0 && counts().bytes == 0);
}

/* A factory that fails is heard, and nothing is left of the server that did not start. */
static void factory_failure(void) {
    oar_cluster *c;
    oar_cluster_options o = defaults();
    OK(oar_cluster_new(&o, &c));
    factory_fails = "there is no room on this ark";
    SAYS(oar_cluster_start(c, 1), OAR_ERR_STATE_MACHINE, "no room on this ark");
    SAYS(oar_cluster_start(c, 0), OAR_ERR_STATE_MACHINE, "no room on this ark");
    factory_fails = NULL;
    CHECK(counts().servers == 0);
    OK(oar_cluster_start(c, 0));
    OK(oar_cluster_settle(c, PATIENCE));
    /* A machine that breaks stops its replica. Nobody is to wait for it. */
    uint64_t id = leader(c);
    IS(propose(server_of(c, id), "fail out of ink", NULL, 0), OAR_ERR_UNKNOWN);
    SAYS(oar_server_wait_stopped(server_of(c, id), PATIENCE), OAR_ERR_FENCED, "out of ink");
    SAYS(oar_cluster_settle(c, OAR_FOREVER), OAR_ERR_FENCED, "out of ink");
    OK(oar_cluster_free(c));
    all_destroyed();
}

/* ---- Callbacks ---- */

static oar_cluster *the_cluster;
static int tried_in[4];
#define REFUSED(expression) IS(expression, OAR_ERR_WOULD_DEADLOCK)
static void try_everything(void) {
    oar_cluster *c;
    oar_server *s;
    oar_client *k;
    uint64_t id;
    oar_cluster_options o = defaults();
    REFUSED(oar_cluster_new(&o, &c));
    REFUSED(oar_cluster_start(the_cluster, 0));
    REFUSED(oar_cluster_stop(the_cluster, 1));
    REFUSED(oar_cluster_crash(the_cluster, 1));
    REFUSED(oar_cluster_server(the_cluster, 1, &s));
    REFUSED(oar_cluster_leader(the_cluster, OAR_FOREVER, &id));
    REFUSED(oar_cluster_settle(the_cluster, OAR_FOREVER));
    REFUSED(oar_cluster_client(the_cluster, NULL, &k));
    REFUSED(oar_cluster_free(the_cluster));
    OK(oar_cluster_cut(the_cluster, 1, 2));
    OK(oar_cluster_split(the_cluster, NULL, 0));
    OK(oar_cluster_heal(the_cluster));
}

static void in_callback(struct machine *m, const char *callback) {
    (void)m;
    if (strcmp(callback, "apply") == 0 && ADD(tried_in[0]) == 1) try_everything();
    if (strcmp(callback, "snapshot_write") == 0 && ADD(tried_in[1]) == 1) try_everything();
}

static oar_status trying_factory(void *user_data, uint64_t id, void **machine) {
    if (the_cluster != NULL && ADD(tried_in[2]) == 1) try_everything();
    oar_status status = factory(user_data, id, machine);
    ((struct machine *)*machine)->hook = in_callback;
    return status;
}

static void trying_destroy(void *machine) {
    if (ADD(tried_in[3]) == 1) try_everything();
    machine_full.destroy(machine);
}

static void callbacks(void) {
    oar_state_machine m = machine_full;
    oar_cluster_options o = defaults();
    oar_config *config = calm();
    m.destroy = trying_destroy;
    o.machine = &m, o.machine_new = trying_factory, o.config = config;
    OK(oar_cluster_new(&o, &the_cluster));
    OK(oar_config_free(config));
    OK(oar_cluster_start(the_cluster, 0));
    oar_server *s = server_of(the_cluster, leader(the_cluster));
    add(s, 1, 1);
    OK(oar_server_snapshot(s, 0, PATIENCE));
    OK(oar_cluster_free(the_cluster));
    for (int i = 0; i < 4; i++) CHECK(GET(tried_in[i]) > 0);
    all_destroyed();
}

/* ---- Freeing while others wait, and what is stuck ---- */

static int came_out;
static void *waits_for_leader(void *c) {
    uint64_t id;
    oar_status status = oar_cluster_leader(c, OAR_FOREVER, &id);
    CHECK((status == OAR_ERR_CLOSED || status == OAR_ERR_HANDLE) && id == 0); /* the thread may come too late */
    ADD(came_out);
    return NULL;
}
static void *waits_to_settle(void *c) {
    oar_status status = oar_cluster_settle(c, OAR_FOREVER);
    CHECK(status == OAR_ERR_CLOSED || status == OAR_ERR_HANDLE);
    ADD(came_out);
    return NULL;
}
static void *waits_for_end(void *server) {
    oar_status status = oar_server_wait_stopped(server, OAR_FOREVER);
    CHECK(status == OAR_ERR_CLOSED || status == OAR_ERR_HANDLE);
    ADD(came_out);
    return NULL;
}

static void freed_while_waiting(void) {
    oar_cluster *c = cluster_with(NULL);
    pthread_t threads[3];
    OK(oar_cluster_settle(c, PATIENCE));
    OK(oar_cluster_stop(c, 1));
    OK(oar_cluster_stop(c, 2)); /* nobody leads from now on */
    threads[0] = spawn(waits_for_leader, c);
    threads[1] = spawn(waits_to_settle, c);
    threads[2] = spawn(waits_for_end, server_of(c, 3));
    pause_a_little(); /* that they wait is not needed, only likely */
    oar_status status = oar_cluster_free(c);
    OK(status);
    for (int i = 0; i < 3; i++) join(threads[i]);
    CHECK(came_out == 3);
}

static void *stuck_proposal(void *server) {
    (void)oar_propose(server, NULL, "gate", 4, PATIENCE, NULL, NULL); /* how it ends is a matter of when */
    return NULL;
}

static void stuck(void) {
    oar_config *config;
    OK(oar_config_new(&config));
    set(config, "timing.close_timeout", "300ms");
    oar_cluster *c = cluster_with(config);
    OK(oar_config_free(config));
    uint64_t id = leader(c);
    pthread_t t = spawn(stuck_proposal, server_of(c, id));
    struct machine *m = &machines[id][0];
    EVENTUALLY(gate_inside(&m->gate) == 1);
    IS(oar_cluster_stop(c, id), OAR_ERR_TIMEOUT);
    SAYS(oar_cluster_start(c, id), OAR_ERR_ORDER, "started already");
    IS(oar_cluster_free(c), OAR_ERR_TIMEOUT); /* the others may be stuck in it, too */
    CHECK(counts().clusters == 1 && m->destroyed == 0);
    for (int k = 1; k <= N; k++) gate_open(&machines[k][0].gate);
    join(t);
    OK(oar_cluster_free(c));
    all_destroyed();
}

/* ---- A forked child ---- */

static void forked(void) {
    oar_cluster *c = calm_cluster(), *another;
    oar_server *s;
    oar_client *k;
    uint64_t id = leader(c);
    int status;
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        oar_cluster_options o = defaults();
        bool ok = oar_cluster_new(&o, &another) == OAR_ERR_FORKED && oar_cluster_start(c, 0) == OAR_ERR_FORKED &&
                  oar_cluster_server(c, 1, &s) == OAR_ERR_FORKED && oar_cluster_leader(c, OAR_FOREVER, &id) == OAR_ERR_FORKED &&
                  oar_cluster_settle(c, OAR_FOREVER) == OAR_ERR_FORKED && oar_cluster_client(c, NULL, &k) == OAR_ERR_FORKED &&
                  oar_cluster_stop(c, 0) == OAR_ERR_FORKED && oar_cluster_crash(c, 0) == OAR_ERR_FORKED &&
                  oar_cluster_split(c, &id, 1) == OAR_ERR_FORKED && oar_cluster_cut(c, 1, 2) == OAR_ERR_FORKED &&
                  oar_cluster_heal(c) == OAR_ERR_FORKED && oar_cluster_free(c) == OAR_ERR_FORKED;
        _exit(ok ? 0 : 1);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    OK(propose(server_of(c, leader(c)), "+1", NULL, 0));
    OK(oar_cluster_free(c));
    all_destroyed(); /* by the parent alone */
}

/* ---- Pulled machines ---- */

static long pulled_sums[N + 1];
static int pulled_restored;
static void pull_one(oar_server *server, uint64_t id, const oar_work *w) {
    unsigned char frame[8192];
    size_t at = w->entry_count * 4, got;
    switch (w->kind) {
    case OAR_WORK_APPLY:
        CHECK(w->entry_count <= 1000);
        for (size_t i = 0; i < w->entry_count; i++) {
            uint32_t length = 1;
            pulled_sums[id]++;
            memcpy(frame + 4 * i, &length, 4);
            frame[at++] = 'y';
        }
        OK(oar_work_done(server, w->id, OAR_OK, frame, at));
        return;
    case OAR_WORK_SNAPSHOT_WRITE: OK(oar_writer_write(w->writer, &pulled_sums[id], sizeof(long))); break;
    case OAR_WORK_RESTORE:
        OK(oar_reader_read(w->reader, &pulled_sums[id], sizeof(long), &got));
        CHECK(got == sizeof(long));
        OK(oar_reader_read(w->reader, frame, sizeof frame, &got));
        ADD(pulled_restored);
        break;
    default: break;
    }
    OK(oar_work_done(server, w->id, OAR_OK, NULL, 0));
}

struct puller {
    oar_server *server;
    uint64_t id;
};
static void *pulling(void *argument) {
    struct puller *p = argument;
    oar_work w;
    for (;;) {
        OAR_INIT(&w);
        oar_status status = oar_work_next(p->server, OAR_WORK_ALL, OAR_FOREVER, &w);
        if (status != OAR_OK) { /* the handle went between two calls */
            IS(status, OAR_ERR_HANDLE);
            return NULL;
        }
        if (w.kind == OAR_WORK_CLOSED) return NULL;
        pull_one(p->server, p->id, &w);
    }
}

static void pull(void) {
    oar_cluster *c;
    oar_cluster_options o;
    struct puller pullers[N + 1];
    pthread_t threads[N + 1];
    OAR_INIT(&o);
    o.flags = OAR_CLUSTER_PULL;
    OK(oar_cluster_new(&o, &c));
    OK(oar_cluster_start(c, 0));
    for (uint64_t id = 1; id <= N; id++) pullers[id].server = server_of(c, id), pullers[id].id = id, threads[id] = spawn(pulling, &pullers[id]);
    oar_client *client = client_of(c);
    long sum = 0;
    for (int round = 0; round < 3; round++) {
        uint64_t id = leader(c);
        for (int i = 0; i < 10; i++, sum++) OK(oar_client_propose(client, NULL, "x", 1, PATIENCE, NULL, NULL));
        OK(oar_server_snapshot(server_of(c, id), 0, PATIENCE));
        OK(oar_cluster_crash(c, id));
        join(threads[id]);
        pulled_sums[id] = 0;
        OK(oar_cluster_start(c, id));
        pullers[id].server = server_of(c, id);
        threads[id] = spawn(pulling, &pullers[id]);
        OK(oar_cluster_settle(c, PATIENCE));
        CHECK(pulled_sums[id] == sum && GET(pulled_restored) == round + 1);
    }
    OK(oar_client_free(client));
    OK(oar_cluster_free(c));
    for (uint64_t id = 1; id <= N; id++) join(threads[id]);
}

const struct phase cluster_phases[] = {
    {"cluster.lives", lives},
    {"cluster.survives-crashes", survives_crashes},
    {"cluster.power-cuts", power_cuts},
    {"cluster.split", split},
    {"cluster.settings", settings},
    {"cluster.misuse", misuse},
    {"cluster.wrong-options", wrong_options},
    {"cluster.factory-failure", factory_failure},
    {"cluster.callbacks", callbacks},
    {"cluster.freed-while-waiting", freed_while_waiting},
    {"cluster.stuck", stuck},
    {"cluster.forked", forked},
    {"cluster.pull", pull},
    {NULL, NULL},
};
