/* State machines that fail, and what is too large. */
#include "harness.h"

static struct machine machine;
static oar_server *server;

static void begin(void) {
    machine_init(&machine);
    server = single(&machine_plain, &machine);
}

static void end(void) { OK(oar_server_free(server)); }

/* What everybody hears of a machine that broke with a text. */
static void is_broken(oar_server *s, const char *text) {
    oar_call *call;
    SAYS(oar_server_wait_stopped(s, PATIENCE), OAR_ERR_FENCED, text);
    CHECK(cause() == OAR_ERR_STATE_MACHINE && (class_bits() & OAR_CLASS_FATAL));
    SAYS(oar_propose(s, NULL, "+1", 2, PATIENCE, NULL, NULL), OAR_ERR_FENCED, text);
    CHECK(class_bits() & OAR_CLASS_FATAL);
    CHECK(!(class_bits() & OAR_CLASS_MAYBE_COMMITTED));
    SAYS(oar_query(s, NULL, NULL, 0, PATIENCE, NULL, NULL), OAR_ERR_FENCED, text);
    SAYS(oar_server_wait_ready(s, PATIENCE), OAR_ERR_FENCED, text);
    IS(oar_barrier(s, 0, PATIENCE), OAR_ERR_FENCED);
    OK(oar_propose_start(s, NULL, "+1", 2, &call));
    IS(oar_call_wait(call, PATIENCE, NULL, NULL), OAR_ERR_FENCED);
    OK(oar_call_free(call));
    CHECK(info_of(s).fenced == 1);
    IS(oar_server_snapshot(s, 0, PATIENCE), OAR_ERR_FENCED);
}

static void apply_fails(void) {
    begin();
    add(server, 1, 1);
    SAYS(propose(server, "fail out of luck", NULL, 0), OAR_ERR_UNKNOWN, "out of luck");
    CHECK(cause() == OAR_ERR_STATE_MACHINE);
    CHECK(class_bits() == (OAR_CLASS_MAYBE_COMMITTED | OAR_CLASS_FATAL));
    is_broken(server, "out of luck");
    int applied = GET(machine.applied);
    struct machine other; /* the process lives */
    machine_init(&other);
    oar_server *second = single(&machine_plain, &other);
    add(second, 1, 1);
    OK(oar_server_free(second));
    OK(oar_server_close(server));
    SAYS(oar_server_wait_stopped(server, OAR_FOREVER), OAR_ERR_FENCED, "out of luck"); /* still why */
    end();
    CHECK(machine.applied == applied && machine.destroyed == 1);
}

static oar_status applies_badly(void *user_data, const oar_entry *entries, size_t count, oar_results *results) {
    (void)user_data, (void)entries, (void)count, (void)results;
    return OAR_ERR_BUSY; /* any status is a failure, and it has no text */
}

static void apply_without_text(void) {
    oar_state_machine m = machine_plain;
    m.apply = applies_badly;
    machine_init(&machine);
    server = single(&m, &machine);
    SAYS(propose(server, "+1", NULL, 0), OAR_ERR_UNKNOWN, "apply");
    CHECK(cause() == OAR_ERR_STATE_MACHINE);
    is_broken(server, "OAR_ERR_BUSY");
    end();
}

static oar_status applies_nothing(void *user_data, const oar_entry *entries, size_t count, oar_results *results) {
    (void)user_data, (void)entries, (void)results;
    machine.applied += (int)count;
    return OAR_OK;
}

static void results(void) {
    char result[64];
    oar_state_machine m = machine_plain;
    m.apply = applies_nothing;
    machine_init(&machine);
    server = single(&m, &machine);
    memset(result, 'z', sizeof result);
    OK(propose(server, "+1", result, sizeof result)); /* what is missing is empty */
    CHECK(result[0] == '\0' && machine.applied == 1);
    end();
    begin();
    OK(propose(server, "many", result, sizeof result)); /* the ones too many are refused, in apply */
    CHECK(strcmp(result, "r") == 0);
    add(server, 1, 1);
    end();
}

static void too_large(void) {
    char result[8];
    void *bytes;
    size_t len;
    static char command[(2 << 20) + 1];
    begin();
    SAYS(propose(server, "big 2097153", result, sizeof result), OAR_ERR_RESULT_TOO_LARGE, "");
    CHECK(class_bits() == OAR_CLASS_APPLIED);
    CHECK(GET(machine.applied) == 1);
    SAYS(propose(server, "big 67108864", result, sizeof result), OAR_ERR_RESULT_TOO_LARGE, "");
    CHECK(GET(machine.applied) == 2);
    OK(oar_propose(server, NULL, "big 2097152", 11, PATIENCE, &bytes, &len));
    CHECK(len == 2097152);
    oar_free(bytes);
    SAYS(oar_query(server, NULL, "big 67108865", 12, PATIENCE, &bytes, &len), OAR_ERR_ANSWER_TOO_LARGE, "the query's answer is too large: 67108865 bytes");
    CHECK(strstr(oar_last_error(), "applied") == NULL);
    CHECK(class_bits() == 0 && bytes == NULL && len == 0);
    IS(oar_query(server, NULL, "big 2097153", 11, PATIENCE, &bytes, &len), OAR_ERR_ANSWER_TOO_LARGE);
    OK(oar_query(server, NULL, "big 2097152", 11, PATIENCE, &bytes, &len));
    CHECK(len == 2097152);
    oar_free(bytes);
    SAYS(oar_propose(server, NULL, command, sizeof command, PATIENCE, NULL, NULL), OAR_ERR_TOO_LARGE, "2097153");
    CHECK(class_bits() == 0);
    IS(oar_query(server, NULL, command, sizeof command, PATIENCE, NULL, NULL), OAR_ERR_TOO_LARGE);
    OK(oar_propose(server, NULL, command, sizeof command - 1, PATIENCE, NULL, NULL));
    add(server, 1, 1);
    end();
}

static void query_fails(void) {
    begin();
    SAYS(oar_query(server, NULL, "fail ask another", 16, PATIENCE, NULL, NULL), OAR_ERR_QUERY, "ask another");
    CHECK(class_bits() == 0 && cause() == OAR_ERR_QUERY);
    oar_query_options stale;
    OAR_INIT(&stale);
    stale.consistency = OAR_STALE;
    SAYS(oar_query(server, &stale, "fail ask another", 16, PATIENCE, NULL, NULL), OAR_ERR_QUERY, "ask another");
    add(server, 1, 1); /* no other effect */
    end();
}

/* ---- Snapshots ---- */

/* The next event of a kind. */
static void event_of(oar_events *events, uint32_t kind, const char *part) {
    oar_event e;
    do {
        OAR_INIT(&e);
        OK(oar_events_next(events, PATIENCE, &e));
    } while (e.kind != kind);
    HAS(e.text, part);
}

static void snapshot_fails(void) {
    oar_events *events;
    machine_init(&machine);
    oar_config *config = cluster(1, true);
    server = opened(config, 1, &machine_full, &machine);
    OK(oar_events_open(server, NULL, &events));
    OK(oar_server_start(server));
    OK(oar_server_wait_ready(server, PATIENCE));
    add(server, 1, 1);
    machine.prepare_fails = "no paper";
    SAYS(oar_server_snapshot(server, 0, PATIENCE), OAR_ERR_SNAPSHOT, "no paper");
    event_of(events, OAR_EVENT_TROUBLE, "no paper");
    CHECK(GET(machine.prepared) == 0 && GET(machine.released) == 0);
    machine.prepare_fails = NULL;
    machine.write_fails = "no ink";
    SAYS(oar_server_snapshot(server, 0, PATIENCE), OAR_ERR_SNAPSHOT, "no ink");
    event_of(events, OAR_EVENT_TROUBLE, "no ink");
    EVENTUALLY(GET(machine.released) == GET(machine.prepared));
    add(server, 1, 2); /* the server goes on */
    machine.write_fails = NULL;
    OK(oar_server_snapshot(server, 0, PATIENCE));
    CHECK(GET(machine.written) == 1);
    OK(oar_events_free(events));
    end();
    CHECK(machine.released == machine.prepared);
    OK(oar_config_free(config));
}

static void no_snapshots(void) {
    begin();
    add(server, 1, 1);
    SAYS(oar_server_snapshot(server, 0, PATIENCE), OAR_ERR_UNSUPPORTED, "no snapshots");
    add(server, 1, 2);
    IS(oar_server_snapshot(server, 3, OAR_SECOND), OAR_ERR_NO_GROUP);
    end();
}

/* A server whose machine has a snapshot to restore when it is started again. */
static oar_config *has_snapshot(void) {
    machine_init(&machine);
    oar_config *config = cluster(1, false);
    server = started(config, 1, &machine_full, &machine);
    OK(oar_server_wait_ready(server, PATIENCE));
    add(server, 1, 1);
    OK(oar_server_snapshot(server, 0, OAR_FOREVER));
    OK(oar_server_free(server));
    return config;
}

static void restore_fails(void) {
    oar_config *config = has_snapshot();
    machine.restore_fails = "cannot read my own hand";
    server = opened(config, 1, &machine_full, &machine);
    oar_status status = oar_server_start(server);
    CHECK(status == OAR_OK);
    is_broken(server, "cannot read my own hand");
    end();
    machine.restore_fails = NULL;
    server = started(config, 1, &machine_full, &machine);
    OK(oar_server_wait_ready(server, PATIENCE));
    CHECK(sum_of(server) == 1);
    end();
    OK(oar_config_free(config));
}

/* Whoever does not come to the end of a snapshot has not restored it, whatever it says. */
static void restore_stops(void) {
    oar_config *config = has_snapshot();
    machine.restore_stops = true;
    server = started(config, 1, &machine_full, &machine);
    is_broken(server, "left 5 bytes of the snapshot unread");
    end();
    OK(oar_config_free(config));
}

/* ---- What falls due, and hashes ---- */

static int next_due(void *user_data, int64_t *time) {
    struct machine *m = user_data;
    *time = GET(m->due);
    return *time != 0;
}

static oar_status expire(void *user_data, uint64_t index, int64_t time) {
    struct machine *m = user_data;
    CHECK(index > 0 && time >= m->due);
    if (m->expire_fails) return oar_fail("past its date");
    PUT(m->due, 0);
    ADD(m->expired);
    return OAR_OK;
}

static int hashes;
static uint64_t hash(void *user_data) {
    ADD(hashes);
    return (uint64_t)((struct machine *)user_data)->sum;
}

static void due(void) {
    oar_state_machine m = machine_full;
    m.next_due = next_due;
    m.expire = expire;
    m.state_hash = hash;
    m.flags = OAR_MACHINE_CONCURRENT_QUERIES;
    machine_init(&machine);
    server = single(&m, &machine);
    PUT(machine.due, 1);
    add(server, 1, 1); /* after it next_due is asked */
    EVENTUALLY(GET(machine.expired) == 1);
    OK(oar_server_snapshot(server, 0, PATIENCE));
    machine.expire_fails = true;
    PUT(machine.due, 1);
    oar_status status = propose(server, "+1", NULL, 0);
    CHECK(status == OAR_OK || (status == OAR_ERR_UNKNOWN && cause() == OAR_ERR_STATE_MACHINE));
    is_broken(server, "past its date");
    end();
}

const struct phase machine_phases[] = {
    {"machine.apply-fails", apply_fails}, {"machine.apply-without-text", apply_without_text},
    {"machine.results", results},         {"machine.too-large", too_large},
    {"machine.query-fails", query_fails}, {"machine.snapshot-fails", snapshot_fails},
    {"machine.no-snapshots", no_snapshots}, {"machine.restore-fails", restore_fails},
    {"machine.restore-stops", restore_stops}, {"machine.due", due},
    {NULL, NULL},
};
