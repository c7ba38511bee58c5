/* Calls as handles, waited for in pieces. */
#include "harness.h"

static struct machine machine;
static oar_server *server;
static oar_client *client;

static void begin(void) {
    machine_init(&machine);
    oar_config *config = cluster(1, true);
    server = started(config, 1, &machine_plain, &machine);
    OK(oar_server_wait_ready(server, PATIENCE));
    OK(oar_client_open(config, NULL, &client));
    OK(oar_config_free(config));
}

static void end(void) {
    gate_open(&machine.gate);
    OK(oar_client_free(client));
    OK(oar_server_free(server));
}

/* A command that waits at the gate, of the server or the client. */
static oar_call *gated(bool of_client) {
    oar_call *call;
    OK(of_client ? oar_client_propose_start(client, NULL, "gate", 4, &call) : oar_propose_start(server, NULL, "gate", 4, &call));
    EVENTUALLY(gate_inside(&machine.gate) == 1);
    return call;
}

static void waits(bool of_client) {
    void *result = &server;
    size_t len = 3;
    begin();
    oar_call *call = gated(of_client);
    IS(oar_call_wait(call, 0, &result, &len), OAR_ERR_PENDING);
    CHECK(cause() == OAR_ERR_TIMEOUT && class_bits() == OAR_CLASS_MAYBE_COMMITTED && result == NULL && len == 0);
    IS(oar_call_wait(call, 30 * OAR_MILLISECOND, &result, &len), OAR_ERR_PENDING);
    CHECK(cause() == OAR_ERR_TIMEOUT && counts().calls == 1);
    gate_open(&machine.gate);
    OK(oar_call_wait(call, OAR_FOREVER, &result, &len));
    CHECK(len == 1 && memcmp(result, "0", 1) == 0);
    IS(oar_call_wait(call, OAR_FOREVER, NULL, NULL), OAR_ERR_ORDER); /* handed out once */
    oar_free(result);
    OK(oar_call_cancel(call)); /* too late, and no error */
    OK(oar_call_free(call));
    IS(oar_call_free(call), OAR_ERR_HANDLE);
    OK(of_client ? oar_client_query_start(client, NULL, "", 0, &call) : oar_query_start(server, NULL, "", 0, &call));
    OK(oar_call_wait(call, PATIENCE, &result, &len));
    CHECK(len == 1 && memcmp(result, "0", 1) == 0);
    oar_free(result);
    OK(oar_call_free(call));
    end();
}

static void of_server(void) { waits(false); }
static void of_client(void) { waits(true); }

/* ---- Signals ---- */

static void handler(int signal) { (void)signal; }

static void handle(int flags) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = SA_ONSTACK | flags;
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
}

struct waiter {
    oar_call *call;
    int64_t timeout;
    oar_status status, cause;
    int ended;
};

static void *wait_for(void *at) {
    struct waiter *w = at;
    w->status = oar_call_wait(w->call, w->timeout, NULL, NULL);
    w->cause = w->status == OAR_OK ? OAR_OK : cause();
    ADD(w->ended);
    return NULL;
}

static void interrupted(void) {
    begin();
    oar_call *call = gated(false);
    struct waiter w = {call, OAR_FOREVER, 0, 0, 0};
    handle(0);
    pthread_t thread = spawn(wait_for, &w);
    while (GET(w.ended) == 0) { /* until one came while it waited */
        CHECK(pthread_kill(thread, SIGUSR1) == 0);
        pause_a_little();
    }
    join(thread);
    CHECK(w.status == OAR_ERR_PENDING && w.cause == OAR_ERR_INTERRUPTED);
    gate_open(&machine.gate);
    OK(oar_call_wait(call, OAR_FOREVER, NULL, NULL));
    OK(oar_call_free(call));
    end();
}

struct proposer {
    const char *command;
    oar_status status;
    int ended;
};
static void *proposing(void *at) {
    struct proposer *p = at;
    p->status = oar_propose(server, NULL, p->command, strlen(p->command), OAR_FOREVER, NULL, NULL);
    ADD(p->ended);
    return NULL;
}

/* Functions that are not said to be interruptible go on. */
static void not_interrupted(void) {
    begin();
    struct proposer p = {"gate", 0, 0};
    handle(0);
    pthread_t thread = spawn(proposing, &p);
    EVENTUALLY(gate_inside(&machine.gate) == 1);
    for (int i = 0; i < 20; i++) {
        CHECK(pthread_kill(thread, SIGUSR1) == 0);
        pause_a_little();
    }
    CHECK(GET(p.ended) == 0);
    gate_open(&machine.gate);
    join(thread);
    IS(p.status, OAR_OK);
    end();
}

/* ---- Giving up ---- */

static void cancels(bool client_too) {
    begin();
    oar_call *call = gated(client_too), *second;
    OK(oar_call_cancel(call));
    OK(oar_call_cancel(call));
    IS(oar_call_wait(call, PATIENCE, NULL, NULL), OAR_ERR_UNKNOWN);
    CHECK(cause() == OAR_ERR_CANCELLED && class_bits() == OAR_CLASS_MAYBE_COMMITTED);
    OK(oar_call_free(call));
    OK(client_too ? oar_client_query_start(client, NULL, NULL, 0, &second) : oar_query_start(server, NULL, NULL, 0, &second));
    OK(oar_call_cancel(second));
    oar_status status = oar_call_wait(second, PATIENCE, NULL, NULL);
    CHECK(status != OAR_OK && status != OAR_ERR_PENDING && cause() == OAR_ERR_CANCELLED);
    OK(oar_call_free(second));
    end();
}

static void cancel_server(void) { cancels(false); }
static void cancel_client(void) { cancels(true); }

static void freed_while_waiting(void) {
    for (int round = 0; round < 2; round++) {
        begin();
        oar_call *call = gated(round == 1);
        struct waiter w[3];
        pthread_t threads[3];
        for (int i = 0; i < 3; i++) {
            w[i] = (struct waiter){call, OAR_FOREVER, 0, 0, 0};
            threads[i] = spawn(wait_for, &w[i]);
        }
        for (int i = 0; i < 10; i++) pause_a_little(); /* so that they are probably inside */
        OK(oar_call_free(call));
        for (int i = 0; i < 3; i++) {
            join(threads[i]);
            CHECK(w[i].status == OAR_ERR_HANDLE || w[i].status == OAR_ERR_ORDER || (w[i].status == OAR_ERR_UNKNOWN && w[i].cause == OAR_ERR_CANCELLED));
        }
        end();
        PUT(machine.gate.open, false);
    }
}

/* One answer for two who wait. */
static void two_wait(void) {
    begin();
    oar_call *call = gated(false);
    struct waiter w[2] = {{call, OAR_FOREVER, 0, 0, 0}, {call, OAR_FOREVER, 0, 0, 0}};
    pthread_t a = spawn(wait_for, &w[0]), b = spawn(wait_for, &w[1]);
    gate_open(&machine.gate);
    join(a);
    join(b);
    CHECK((w[0].status == OAR_OK && w[1].status == OAR_ERR_ORDER) || (w[1].status == OAR_OK && w[0].status == OAR_ERR_ORDER));
    OK(oar_call_free(call));
    end();
}

static void timeouts(void) {
    oar_propose_options p;
    oar_query_options q;
    oar_call *a, *b, *c;
    begin();
    oar_call *call = gated(false);
    OAR_INIT(&p);
    OAR_INIT(&q);
    p.timeout = q.timeout = 500 * OAR_MILLISECOND;
    OK(oar_propose_start(server, &p, "+1", 2, &a));
    OK(oar_query_start(server, &q, NULL, 0, &b));
    OK(oar_client_propose_start(client, &p, "+1", 2, &c));
    IS(oar_call_wait(a, PATIENCE, NULL, NULL), OAR_ERR_UNKNOWN);
    CHECK(cause() == OAR_ERR_TIMEOUT);
    IS(oar_call_wait(b, PATIENCE, NULL, NULL), OAR_ERR_TIMEOUT);
    oar_status status = oar_call_wait(c, PATIENCE, NULL, NULL);
    CHECK((status == OAR_ERR_UNKNOWN || status == OAR_ERR_NOT_SENT) && cause() == OAR_ERR_TIMEOUT);
    OK(oar_call_free(a));
    OK(oar_call_free(b));
    OK(oar_call_free(c));
    OK(oar_call_free(call));
    end();
}

/* Freed without ever having been waited for; the server goes first, or the call does. */
static void unwaited(void) {
    oar_call *calls[50];
    begin();
    for (int i = 0; i < 50; i++)
        OK(i % 2 ? oar_propose_start(server, NULL, "+1", 2, &calls[i]) : oar_client_propose_start(client, NULL, "+1", 2, &calls[i]));
    for (int i = 0; i < 25; i++) OK(oar_call_free(calls[i]));
    end();
    for (int i = 25; i < 50; i++) {
        oar_status status = oar_call_wait(calls[i], OAR_FOREVER, NULL, NULL);
        CHECK(status == OAR_OK || status == OAR_ERR_UNKNOWN || status == OAR_ERR_CLOSED);
        OK(oar_call_free(calls[i]));
    }
}

const struct phase calls_phases[] = {
    {"calls.server", of_server},       {"calls.client", of_client},         {"calls.interrupted", interrupted},
    {"calls.not-interrupted", not_interrupted}, {"calls.cancel-server", cancel_server}, {"calls.cancel-client", cancel_client},
    {"calls.freed-while-waiting", freed_while_waiting}, {"calls.two-wait", two_wait},
    {"calls.timeouts", timeouts},      {"calls.unwaited", unwaited},        {NULL, NULL},
};
