/* Sessions: a command with a sequence is executed once, however often it is sent. */
#include "harness.h"

static struct machine machine;

static oar_status in(oar_server *server, uint64_t session, uint64_t sequence, uint64_t floor, char *result) {
    oar_propose_options o;
    void *got;
    size_t len;
    OAR_INIT(&o);
    o.session = session, o.sequence = sequence, o.floor = floor;
    oar_status status = oar_propose(server, &o, "+1", 2, PATIENCE, &got, &len);
    if (status == OAR_OK) memcpy(result, got, len), result[len] = '\0';
    oar_free(got);
    return status;
}

static void once(void) {
    uint64_t session = 0, another = 0;
    char result[64];
    machine_init(&machine);
    oar_server *server = single(&machine_plain, &machine);
    OK(oar_session_open(server, 0, PATIENCE, &session));
    OK(oar_session_open(server, 0, PATIENCE, &another));
    CHECK(session != 0 && another != 0 && session != another);
    EVENTUALLY(info_of(server).sessions == 2);
    for (int i = 0; i < 3; i++) {
        OK(in(server, session, 1, 0, result));
        CHECK(strcmp(result, "1") == 0);
    }
    OK(in(server, session, 2, 1, result));
    CHECK(strcmp(result, "2") == 0);
    OK(in(server, another, 1, 0, result)); /* its own sequences */
    CHECK(strcmp(result, "3") == 0);
    OK(in(server, session, 9, 5, result)); /* gaps are fine; what is below 5 nobody waits for any more */
    SAYS(in(server, session, 2, 0, result), OAR_ERR_SEQUENCE, "");
    CHECK(class_bits() == 0);
    IS(in(server, session, 1u << 30, 0, result), OAR_ERR_SEQUENCE); /* too far above */
    CHECK(sum_of(server) == 4);
    OK(oar_session_keep(server, 0, session, PATIENCE));
    OK(oar_session_close(server, 0, session, PATIENCE));
    OK(oar_session_close(server, 0, session, PATIENCE)); /* no error */
    IS(in(server, session, 10, 5, result), OAR_ERR_SESSION_EXPIRED);
    IS(oar_session_keep(server, 0, session, PATIENCE), OAR_ERR_SESSION_EXPIRED);
    IS(in(server, 987654321, 1, 0, result), OAR_ERR_SESSION_EXPIRED);
    IS(oar_session_open(server, 0, 0, &session), OAR_ERR_NOT_SENT);
    CHECK(session == 0 && cause() == OAR_ERR_TIMEOUT);
    IS(oar_session_open(server, 5, OAR_SECOND, &session), OAR_ERR_NO_GROUP);
    EVENTUALLY(info_of(server).sessions == 1);
    CHECK(sum_of(server) == 4);
    OK(oar_server_free(server));
}

static void expires(void) {
    uint64_t session;
    char result[64];
    oar_status status;
    machine_init(&machine);
    oar_config *config = cluster(1, true);
    set(config, "limits.session_expiry", "1s");
    oar_server *server = started(config, 1, &machine_plain, &machine);
    OK(oar_server_wait_ready(server, PATIENCE));
    OK(oar_session_open(server, 0, PATIENCE, &session));
    OK(in(server, session, 1, 0, result));
    EVENTUALLY(info_of(server).sessions == 0); /* by cluster time */
    status = in(server, session, 2, 0, result);
    IS(status, OAR_ERR_SESSION_EXPIRED);
    CHECK(sum_of(server) == 1);
    OK(oar_server_free(server));
    OK(oar_config_free(config));
}

/* A retry after a restart gets the first result from the log. */
static void survives(void) {
    uint64_t session;
    char result[64];
    machine_init(&machine);
    oar_config *config = cluster(1, false);
    oar_server *server = started(config, 1, &machine_full, &machine);
    OK(oar_server_wait_ready(server, PATIENCE));
    OK(oar_session_open(server, 0, PATIENCE, &session));
    OK(in(server, session, 1, 0, result));
    OK(oar_server_snapshot(server, 0, OAR_FOREVER));
    OK(in(server, session, 2, 1, result));
    OK(oar_server_free(server));
    machine.sum = 0;
    server = started(config, 1, &machine_full, &machine);
    OK(oar_server_wait_ready(server, PATIENCE));
    OK(in(server, session, 2, 1, result));
    CHECK(strcmp(result, "2") == 0);
    OK(in(server, session, 1, 1, result)); /* out of the snapshot */
    CHECK(strcmp(result, "1") == 0 && sum_of(server) == 2);
    OK(oar_server_free(server));
    OK(oar_config_free(config));
}

const struct phase sessions_phases[] = {
    {"sessions.once", once}, {"sessions.expire", expires}, {"sessions.survive", survives}, {NULL, NULL}};
