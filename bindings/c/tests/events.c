/* Events, and what a server logs. */
#include "harness.h"

static struct machine machine;
static oar_config *config;
static oar_server *server;

static oar_event next(oar_events *events) {
    oar_event e;
    OAR_INIT(&e);
    OK(oar_events_next(events, PATIENCE, &e));
    CHECK(e.text != NULL && e.component != NULL && e.kind != 0);
    return e;
}

static void roles(void) {
    oar_events *events;
    oar_event e;
    bool leads = false, knows = false;
    machine_init(&machine);
    config = cluster(1, true);
    server = opened(config, 1, &machine_full, &machine);
    OK(oar_events_open(server, NULL, &events));
    OAR_INIT(&e);
    IS(oar_events_next(events, 0, &e), OAR_ERR_TIMEOUT);
    IS(oar_events_next(events, 20 * OAR_MILLISECOND, &e), OAR_ERR_TIMEOUT);
    OK(oar_server_start(server));
    while (!leads || !knows) {
        e = next(events);
        CHECK(e.kind != OAR_EVENT_LOG && e.group == 1);
        if (e.kind == OAR_EVENT_ROLE && e.role == OAR_ROLE_LEADER) leads = e.term > 0;
        if (e.kind == OAR_EVENT_LEADER && e.server == 1) knows = true;
        if (e.kind == OAR_EVENT_ROLE && e.server == 1) knows = true;
    }
    add(server, 1, 1);
    OK(oar_server_snapshot(server, 0, PATIENCE));
    do e = next(events);
    while (e.kind != OAR_EVENT_SNAPSHOT);
    CHECK(e.index > 0);
    OK(oar_server_close(server));
    oar_status status;
    do OAR_INIT(&e);
    while ((status = oar_events_next(events, PATIENCE, &e)) == OAR_OK); /* what came before is still there */
    IS(status, OAR_ERR_CLOSED);
    OK(oar_server_free(server));
    OAR_INIT(&e);
    IS(oar_events_next(events, OAR_FOREVER, &e), OAR_ERR_CLOSED); /* the handle outlives the server */
    OK(oar_events_free(events));
    IS(oar_events_free(events), OAR_ERR_HANDLE);
    OK(oar_config_free(config));
}

static void log_events(void) {
    oar_events_options o;
    oar_events *events, *few;
    machine_init(&machine);
    config = cluster(1, true);
    server = opened(config, 1, &machine_full, &machine);
    OAR_INIT(&o);
    o.log_levels = "debug", o.room = 4096;
    OK(oar_events_open(server, &o, &events));
    o.log_levels = "error", o.room = 2; /* nothing of the log, and hardly any room */
    OK(oar_events_open(server, &o, &few));
    OK(oar_server_start(server));
    OK(oar_server_wait_ready(server, PATIENCE));
    oar_event e;
    do e = next(events);
    while (e.kind != OAR_EVENT_LOG);
    CHECK(e.text[0] != '\0' && e.component[0] != '\0' && e.level >= -4 && e.level <= 8 && strchr(e.text, '\n') == NULL);
    for (long i = 1; i <= 20; i++) {
        add(server, 1, i);
        OK(oar_server_snapshot(server, 0, PATIENCE));
    }
    OK(oar_server_close(server));
    uint64_t dropped = 0, got = 0;
    oar_status status;
    for (;;) { /* of the slow one */
        OAR_INIT(&e);
        if ((status = oar_events_next(few, 0, &e)) != OAR_OK) break;
        CHECK(e.kind != OAR_EVENT_LOG);
        if (e.kind == OAR_EVENT_DROPPED_EVENTS) dropped += e.dropped;
        got++;
    }
    IS(status, OAR_ERR_CLOSED);
    CHECK(got <= 4 && dropped > 0);
    OK(oar_events_free(few));
    OK(oar_events_free(events));
    OK(oar_server_free(server));
    OK(oar_config_free(config));
}

/* A reader that is slow is told how much it has missed. */
static void dropped_are_counted(void) {
    oar_events_options o;
    oar_events *events, *all;
    uint64_t dropped = 0, seen = 0, whole = 0;
    oar_event e;
    machine_init(&machine);
    config = cluster(1, true);
    server = opened(config, 1, &machine_full, &machine);
    OAR_INIT(&o);
    o.room = 4;
    OK(oar_events_open(server, &o, &events));
    o.room = 1 << 16;
    OK(oar_events_open(server, &o, &all));
    OK(oar_server_start(server));
    OK(oar_server_wait_ready(server, PATIENCE));
    long sum = 0;
    for (; sum < 20;) {
        add(server, 1, sum + 1), sum++;
        OK(oar_server_snapshot(server, 0, PATIENCE));
    }
    for (int i = 0; i < 4; i++) (void)next(events), seen++; /* now there is room */
    while (dropped == 0) {
        add(server, 1, sum + 1), sum++;
        OK(oar_server_snapshot(server, 0, PATIENCE));
        e = next(events);
        if (e.kind == OAR_EVENT_DROPPED_EVENTS) dropped = e.dropped;
    }
    CHECK(dropped > 0);
    OK(oar_server_close(server));
    OAR_INIT(&e);
    while (oar_events_next(all, 0, &e) == OAR_OK) whole += e.kind != OAR_EVENT_DROPPED_EVENTS;
    CHECK(whole >= dropped + seen); /* nothing is counted that was not there */
    OK(oar_events_free(events));
    OK(oar_events_free(all));
    OK(oar_server_free(server));
    OK(oar_config_free(config));
}

/* ---- The log callback ---- */

static int lines, raft_lines, others, order, machine_at, log_at;
static void log_line(void *user_data, const oar_log_record *r) {
    CHECK(user_data == &lines && r->component != NULL && strchr(r->text, '\n') == NULL && log_at == 0);
    CHECK(r->level == -4 || r->level == 0 || r->level == 4 || r->level == 8);
    ADD(lines);
    if (strcmp(r->component, "raft") == 0) ADD(raft_lines);
    else ADD(others);
}
static void log_destroy(void *user_data) {
    CHECK(user_data == &lines && log_at == 0);
    log_at = ++order;
}
static void machine_destroy(void *user_data) {
    CHECK(user_data == &machine && machine_at == 0);
    machine_at = ++order;
}

static void logs(void) {
    oar_server_options o;
    oar_state_machine m = machine_full;
    m.destroy = machine_destroy;
    machine_init(&machine);
    config = cluster(1, true);
    OAR_INIT(&o);
    o.machine = &m, o.machine_user_data = &machine;
    o.log = log_line, o.log_user_data = &lines, o.log_destroy = log_destroy;
    o.log_levels = "raft=debug,nothing";
    IS(oar_server_open(config, 1, &o, &server), OAR_ERR_CONFIG);
    IS(oar_server_open(config, 7, &o, &server), OAR_ERR_NOT_FOUND);
    CHECK(order == 0); /* no destructor where nothing was opened */
    o.log_levels = "debug";
    OK(oar_server_open(config, 1, &o, &server));
    OK(oar_server_start(server));
    OK(oar_server_wait_ready(server, PATIENCE));
    OK(oar_server_close(server));
    CHECK(lines > 0 && order == 0);
    OK(oar_server_free(server));
    CHECK(machine_at == 1 && log_at == 2 && order == 2); /* once each, in this order */
    lines = raft_lines = others = order = machine_at = log_at = 0;
    o.log_levels = "off";
    OK(oar_server_open(config, 1, &o, &server));
    OK(oar_server_start(server));
    OK(oar_server_wait_ready(server, PATIENCE));
    OK(oar_server_free(server));
    CHECK(lines == 0 && order == 2);
    OK(oar_config_free(config));
}

const struct phase events_phases[] = {
    {"events.roles", roles}, {"events.log", log_events}, {"events.dropped", dropped_are_counted}, {"events.log-callback", logs}, {NULL, NULL},
};
