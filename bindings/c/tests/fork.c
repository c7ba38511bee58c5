/* A forked child: every function says so at once, and the parent goes on. */
#include "harness.h"

#include <spawn.h>

static struct machine machine;
static oar_config *config;
static oar_server *server;
static oar_client *client;
static oar_queue *queue;
static oar_events *events;
static oar_call *call;

static void never(void *user_data, const oar_completion *c) { (void)user_data, (void)c, _exit(9); }

#define FORKED(expression)                                                                                             \
    do {                                                                                                               \
        oar_status got_ = (expression);                                                                                \
        if (got_ != OAR_ERR_FORKED) printf("%s is %s in a child\n", #expression, oar_status_name(got_)), wrong++;      \
    } while (0)

static int wrong;
static void *result;
static size_t len;
static char *text;
static uint64_t session;

static void of_configs(void) {
    oar_config *c = NULL;
    oar_runtime_options runtime;
    oar_counts n;
    OAR_INIT(&runtime);
    OAR_INIT(&n);
    FORKED(oar_runtime_configure(&runtime));
    FORKED(oar_debug_counts(&n));
    FORKED(oar_shutdown(OAR_FOREVER));
    FORKED(oar_config_new(&c));
    FORKED(oar_config_load_file("x", &c));
    FORKED(oar_config_parse("", 0, NULL, &c));
    FORKED(oar_config_generate(1, "d", 7000, &c));
    FORKED(oar_config_set(config, "log.kind", "memory"));
    FORKED(oar_config_value(config, "log.kind", &text));
    FORKED(oar_config_validate(config));
    FORKED(oar_config_members(config, NULL, 0, &len));
    FORKED(oar_config_dump(config, &text));
    FORKED(oar_config_write_file(config, "x"));
    FORKED(oar_config_free(config));
}

static void of_servers(void) {
    oar_server_options o;
    oar_server *s;
    oar_group_info info;
    oar_work w;
    OAR_INIT(&o);
    OAR_INIT(&info);
    OAR_INIT(&w);
    o.machine = &machine_plain;
    FORKED(oar_server_format(config, 1));
    FORKED(oar_server_open(config, 1, &o, &s));
    FORKED(oar_server_start(server));
    FORKED(oar_server_wait_ready(server, OAR_FOREVER));
    FORKED(oar_server_wait_stopped(server, OAR_FOREVER));
    FORKED(oar_server_group_info(server, 0, &info));
    FORKED(oar_server_status_json(server, &text));
    FORKED(oar_server_snapshot(server, 0, OAR_FOREVER));
    FORKED(oar_propose(server, NULL, "+1", 2, OAR_FOREVER, &result, &len));
    FORKED(oar_query(server, NULL, NULL, 0, OAR_FOREVER, &result, &len));
    FORKED(oar_barrier(server, 0, OAR_FOREVER));
    FORKED(oar_session_open(server, 0, OAR_FOREVER, &session));
    FORKED(oar_session_keep(server, 0, 1, OAR_FOREVER));
    FORKED(oar_session_close(server, 0, 1, OAR_FOREVER));
    FORKED(oar_propose_async(server, NULL, "+1", 2, never, NULL));
    FORKED(oar_query_async(server, NULL, NULL, 0, never, NULL));
    FORKED(oar_propose_queued(server, NULL, "+1", 2, queue, 0));
    FORKED(oar_query_queued(server, NULL, NULL, 0, queue, 0));
    FORKED(oar_propose_start(server, NULL, "+1", 2, &call));
    FORKED(oar_query_start(server, NULL, NULL, 0, &call));
    FORKED(oar_work_next(server, OAR_WORK_ALL, OAR_FOREVER, &w));
    FORKED(oar_work_done(server, 1, OAR_OK, NULL, 0));
    FORKED(oar_work_abandon(server));
    oar_identity identity;
    oar_order order;
    OAR_INIT(&identity);
    OAR_INIT(&order);
    FORKED(oar_server_format_joining(config, 1));
    FORKED(oar_server_identity(server, &identity));
    FORKED(oar_barrier_at(server, NULL, OAR_FOREVER));
    FORKED(oar_change_membership(server, &order, OAR_FOREVER, &result, &len));
    FORKED(oar_plan_membership(server, &order, OAR_FOREVER, &result, &len));
    FORKED(oar_members(server, 0, OAR_FOREVER, &result, &len));
    FORKED(oar_transfer_leadership(server, 0, 0, OAR_FOREVER));
    FORKED(oar_step_down(server, 0, OAR_FOREVER));
    FORKED(oar_order_async(server, &order, never, NULL));
    FORKED(oar_order_queued(server, &order, queue, 0));
    FORKED(oar_order_start(server, &order, &call));
    FORKED(oar_server_close(server));
    FORKED(oar_server_free(server));
}

static void of_others(void) {
    uint64_t session_id;
    oar_completion c;
    oar_event e;
    oar_client *k;
    oar_queue *q;
    oar_events *v;
    OAR_INIT(&e);
    FORKED(oar_call_wait(call, OAR_FOREVER, &result, &len));
    FORKED(oar_call_cancel(call));
    FORKED(oar_call_free(call));
    FORKED(oar_queue_new(&q));
    FORKED(oar_queue_next(queue, OAR_FOREVER, &c, sizeof c, 1, &len));
    FORKED(oar_queue_close(queue));
    FORKED(oar_queue_free(queue));
    FORKED(oar_client_open(config, NULL, &k));
    FORKED(oar_client_propose(client, NULL, "+1", 2, OAR_FOREVER, &result, &len));
    FORKED(oar_client_query(client, NULL, NULL, 0, OAR_FOREVER, &result, &len));
    FORKED(oar_client_barrier(client, OAR_FOREVER));
    FORKED(oar_client_propose_async(client, NULL, "+1", 2, never, NULL));
    FORKED(oar_client_query_async(client, NULL, NULL, 0, never, NULL));
    FORKED(oar_client_propose_queued(client, NULL, "+1", 2, queue, 0));
    FORKED(oar_client_query_queued(client, NULL, NULL, 0, queue, 0));
    FORKED(oar_client_propose_start(client, NULL, "+1", 2, &call));
    FORKED(oar_client_query_start(client, NULL, NULL, 0, &call));
    FORKED(oar_client_status_json(client, OAR_FOREVER, &text));
    FORKED(oar_client_members_json(client, OAR_FOREVER, &text));
    oar_order order;
    OAR_INIT(&order);
    FORKED(oar_client_seen(client, &session_id));
    FORKED(oar_client_change_membership(client, &order, OAR_FOREVER, &result, &len));
    FORKED(oar_client_plan_membership(client, &order, OAR_FOREVER, &result, &len));
    FORKED(oar_client_members(client, OAR_FOREVER, &result, &len));
    FORKED(oar_client_transfer_leadership(client, 0, OAR_FOREVER));
    FORKED(oar_client_step_down(client, OAR_FOREVER));
    FORKED(oar_client_order_async(client, &order, never, NULL));
    FORKED(oar_client_order_queued(client, &order, queue, 0));
    FORKED(oar_client_order_start(client, &order, &call));
    FORKED(oar_client_close(client));
    FORKED(oar_client_free(client));
    FORKED(oar_events_open(server, NULL, &v));
    FORKED(oar_events_next(events, OAR_FOREVER, &e));
    FORKED(oar_events_free(events));
}

/* What is said to work there works, and the rest is refused; then the child ends. */
static void child(void) {
    oar_error_detail d;
    of_configs();
    of_servers();
    of_others();
    FORKED(oar_check_abi(OAR_ABI_MAJOR, OAR_ABI_MINOR));
    CHECK(oar_version()[0] != '\0' && strcmp(oar_status_name(OAR_ERR_FORKED), "OAR_ERR_FORKED") == 0);
    CHECK(oar_status_class(OAR_ERR_FORKED) == OAR_CLASS_FATAL);
    HAS(oar_last_error(), "fork");
    OAR_INIT(&d);
    CHECK(oar_last_error_detail(&d) == OAR_OK && d.status == OAR_ERR_FORKED);
    oar_free(malloc(7));
    fflush(stdout);
    if (getenv("ASAN_OPTIONS") != NULL) _exit(wrong); /* what the parent owns looks leaked in the child */
    exit(wrong);
}

static void forks(void) {
    int status = 0;
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) child();
    CHECK(waitpid(pid, &status, 0) == pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) fail_at(__FILE__, __LINE__, "the child ends with %#x", status);
}

static void before_use(void) { forks(); }

static void *waiting(void *unused) {
    (void)unused;
    OK(oar_propose(server, NULL, "gate", 4, OAR_FOREVER, NULL, NULL));
    return NULL;
}

static void open_everything(void) {
    machine_init(&machine);
    config = cluster(1, true);
    server = started(config, 1, &machine_plain, &machine);
    OK(oar_server_wait_ready(server, PATIENCE));
    OK(oar_client_open(config, NULL, &client));
    OK(oar_queue_new(&queue));
    OK(oar_events_open(server, NULL, &events));
}

static void with_everything_open(void) {
    open_everything();
    add(server, 1, 1);
    OK(oar_client_barrier(client, PATIENCE));
    pthread_t thread = spawn(waiting, NULL); /* inside, while we fork */
    EVENTUALLY(gate_inside(&machine.gate) == 1);
    OK(oar_query_start(server, NULL, NULL, 0, &call));
    for (int i = 0; i < 5; i++) forks();
    gate_open(&machine.gate);
    join(thread);
    OK(oar_call_wait(call, OAR_FOREVER, NULL, NULL));
    OK(oar_call_free(call));
    add(server, 1, 2); /* the parent goes on */
    OK(oar_events_free(events));
    OK(oar_queue_free(queue));
    OK(oar_client_free(client));
    OK(oar_server_free(server));
    CHECK(machine.destroyed == 1); /* by the parent alone */
    OK(oar_config_free(config));
}

static int stop;
static void *busy(void *unused) {
    (void)unused;
    while (!GET(stop)) OK(oar_propose(server, NULL, "+1", 2, OAR_FOREVER, NULL, NULL));
    return NULL;
}

static void under_load(void) {
    pthread_t threads[8];
    open_everything();
    for (int i = 0; i < 8; i++) threads[i] = spawn(busy, NULL);
    OK(oar_query_start(server, NULL, NULL, 0, &call));
    for (int i = 0; i < 20; i++) forks();
    PUT(stop, 1);
    for (int i = 0; i < 8; i++) join(threads[i]);
    OK(oar_call_free(call));
    OK(oar_events_free(events));
    OK(oar_queue_free(queue));
    OK(oar_client_free(client));
    OK(oar_server_free(server));
    OK(oar_config_free(config));
}

/* In a callback, on a thread of the library. */
static int forked;
static void in_callback(struct machine *m, const char *callback) {
    (void)m;
    if (strcmp(callback, "apply") == 0 && ADD(forked) == 1) forks();
}

static void in_apply(void) {
    machine_init(&machine);
    server = single(&machine_plain, &machine);
    machine.hook = in_callback;
    add(server, 1, 1);
    add(server, 1, 2);
    CHECK(GET(forked) == 2);
    OK(oar_server_free(server));
}

/* Another program may be started at any time, and may use the library. */
static void programs(void) {
    char self[4096] = "", *of_self[] = {self, "--here", "errors.versions", NULL}, *environment[] = {NULL};
    pid_t pid;
    int status = 1;
    CHECK(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    machine_init(&machine);
    config = cluster(1, false);
    server = started(config, 1, &machine_full, &machine);
    OK(oar_server_wait_ready(server, PATIENCE));
    CHECK(posix_spawn(&pid, self, NULL, NULL, of_self, environment) == 0);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    pid = fork();
    if (pid == 0) (void)execve(self, of_self, environment), _exit(126);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    CHECK(system("true") == 0);
    forks(); /* with a store on disk */
    add(server, 1, 1);
    OK(oar_server_free(server));
    server = started(config, 1, &machine_full, &machine); /* no child holds the store */
    OK(oar_server_wait_ready(server, PATIENCE));
    OK(oar_server_free(server));
    OK(oar_config_free(config));
}

const struct phase fork_phases[] = {
    {"fork.before-use", before_use}, {"fork.with-everything-open", with_everything_open}, {"fork.under-load", under_load},
    {"fork.in-apply", in_apply},     {"fork.programs", programs},                         {NULL, NULL},
};
