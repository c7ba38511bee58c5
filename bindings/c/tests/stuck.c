/* Closing while something of the host does not come back: bounded, and with its name. */
#include "harness.h"

static struct machine machine;
static oar_server *server;
static struct gate stuck = GATE_INIT;

static oar_config *hasty(void) {
    oar_config *config = cluster(1, true);
    set(config, "timing.close_timeout", "300ms");
    machine_init(&machine);
    return config;
}

static void ready(oar_config *config) {
    server = started(config, 1, &machine_full, &machine);
    OK(oar_server_wait_ready(server, PATIENCE));
}

/* Closing fails when its time is over, twice, and so does freeing; once the gate is open it succeeds. */
static void closes_late(struct gate *gate, const char *part) {
    oar_status status = oar_server_close(server);
    SAYS(status, OAR_ERR_TIMEOUT, part);
    CHECK(class_bits() == OAR_CLASS_RETRYABLE);
    IS(oar_server_close(server), OAR_ERR_TIMEOUT);
    SAYS(oar_server_free(server), OAR_ERR_TIMEOUT, part);
    CHECK(machine.destroyed == 0 && counts().servers == 1); /* the handle remains */
    IS(oar_propose(server, NULL, "+1", 2, OAR_SECOND, NULL, NULL), OAR_ERR_CLOSED);
    gate_open(gate);
    OK(oar_server_close(server));
    OK(oar_server_free(server));
    CHECK(machine.destroyed == 1);
}

static void *proposing(void *command) {
    oar_status status = oar_propose(server, NULL, command, strlen(command), OAR_FOREVER, NULL, NULL);
    CHECK(status == OAR_OK || status == OAR_ERR_UNKNOWN);
    return NULL;
}

static void *querying(void *unused) {
    (void)unused;
    oar_status status = oar_query(server, NULL, "gate", 4, OAR_FOREVER, NULL, NULL);
    CHECK(status == OAR_OK || status == OAR_ERR_CLOSED); /* it was answered, late */
    return NULL;
}

static void apply(void) {
    oar_config *config = hasty();
    ready(config);
    pthread_t thread = spawn(proposing, "gate");
    EVENTUALLY(gate_inside(&machine.gate) == 1);
    closes_late(&machine.gate, "");
    join(thread);
    OK(oar_config_free(config));
}

static void query(void) {
    oar_config *config = hasty();
    ready(config);
    pthread_t thread = spawn(querying, NULL);
    EVENTUALLY(gate_inside(&machine.gate) == 1);
    closes_late(&machine.gate, "");
    join(thread);
    OK(oar_config_free(config));
}

/* An apply that takes longer than closing may, and comes back by itself. */
static void slow_apply(void) {
    oar_config *config = hasty();
    ready(config);
    pthread_t thread = spawn(proposing, "sleep 1500");
    while (info_of(server).commit_index <= info_of(server).applied_index) pause_a_little();
    oar_status status = oar_server_close(server);
    IS(status, OAR_ERR_TIMEOUT);
    EVENTUALLY(oar_server_close(server) == OAR_OK);
    OK(oar_server_free(server));
    join(thread);
    OK(oar_config_free(config));
}

static int completed;
static void completion(void *user_data, const oar_completion *c) {
    (void)user_data, (void)c;
    gate_pass(&stuck);
    ADD(completed);
}

static void completions(int how_many, bool timed) {
    oar_config *config = hasty();
    oar_propose_options o;
    OAR_INIT(&o);
    ready(config);
    if (timed) { /* called back by the clock, while apply is held up */
        o.timeout = 50 * OAR_MILLISECOND;
        OK(oar_propose_async(server, &o, "gate", 4, completion, NULL));
    }
    for (int i = 0; i < how_many; i++) OK(oar_propose_async(server, NULL, "+1", 2, completion, NULL));
    EVENTUALLY(gate_inside(&stuck) >= 1);
    gate_open(&machine.gate);
    closes_late(&stuck, "");
    CHECK(GET(completed) == how_many + timed); /* no callback runs any more */
    OK(oar_config_free(config));
}

static void one_completion(void) { completions(1, false); }
static void many_completions(void) { completions(50, false); }
static void timed_completion(void) { completions(0, true); }

static void log_line(void *user_data, const oar_log_record *record) {
    (void)user_data, (void)record;
    gate_pass(&stuck);
}

static void log_callback(void) {
    oar_config *config = hasty();
    oar_server_options o;
    OAR_INIT(&o);
    o.machine = &machine_full, o.machine_user_data = &machine;
    o.log = log_line, o.log_levels = "debug";
    OK(oar_server_open(config, 1, &o, &server));
    OK(oar_server_start(server));
    OK(oar_server_wait_ready(server, PATIENCE)); /* it delays only itself */
    add(server, 1, 1);
    EVENTUALLY(gate_inside(&stuck) == 1);
    closes_late(&stuck, "log");
    OK(oar_config_free(config));
}

static void snapshot_hook(struct machine *m, const char *callback) {
    (void)m;
    if (strcmp(callback, "snapshot_write") == 0) gate_pass(&stuck);
}

static void snapshot(void) {
    oar_config *config = hasty();
    machine.hook = snapshot_hook;
    ready(config);
    add(server, 1, 1);
    IS(oar_server_snapshot(server, 0, 100 * OAR_MILLISECOND), OAR_ERR_PENDING); /* it goes on */
    CHECK(cause() == OAR_ERR_TIMEOUT);
    EVENTUALLY(gate_inside(&stuck) == 1);
    add(server, 1, 2); /* beside later applies */
    closes_late(&stuck, "");
    CHECK(machine.released == machine.prepared);
    OK(oar_config_free(config));
}

/* The same of a client: its callback does not come back. */
static void client(void) {
    oar_config *config = hasty();
    oar_client_options o;
    oar_client *k;
    OAR_INIT(&o);
    o.close_timeout = 300 * OAR_MILLISECOND;
    ready(config);
    OK(oar_client_open(config, &o, &k));
    for (int i = 0; i < 20; i++) OK(oar_client_propose_async(k, NULL, "+1", 2, completion, NULL));
    EVENTUALLY(gate_inside(&stuck) >= 1);
    oar_status status = oar_client_close(k);
    IS(status, OAR_ERR_TIMEOUT);
    SAYS(oar_client_free(k), OAR_ERR_TIMEOUT, "callback");
    gate_open(&stuck);
    OK(oar_client_close(k));
    OK(oar_client_free(k));
    CHECK(GET(completed) == 20);
    OK(oar_server_free(server));
    OK(oar_config_free(config));
}

const struct phase stuck_phases[] = {
    {"stuck.apply", apply},   {"stuck.query", query}, {"stuck.slow-apply", slow_apply}, {"stuck.one-completion", one_completion},
    {"stuck.many-completions", many_completions}, {"stuck.timed-completion", timed_completion}, {"stuck.log", log_callback},
    {"stuck.snapshot", snapshot}, {"stuck.client", client}, {NULL, NULL},
};
