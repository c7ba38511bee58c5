/* Configurations: made, set, written, read again. */
#include "harness.h"

static char *value(oar_config *config, const char *key) {
    char *text = NULL;
    OK(oar_config_value(config, key, &text));
    CHECK(text != NULL);
    return text;
}

static void is_set(oar_config *config, const char *key, const char *want) {
    char *text = value(config, key);
    if (strcmp(text, want) != 0) fail_at(__FILE__, __LINE__, "%s is %s, not %s", key, text, want);
    oar_free(text);
}

static char *dump(oar_config *config) {
    char *text = NULL;
    OK(oar_config_dump(config, &text));
    return text;
}

static void same(oar_config *a, oar_config *b) {
    static const char *const keys[] = {"cluster.id",         "timing.heartbeat_interval", "log.kind",         "sizes.command_bytes_max",
                                       "member.1.address",   "member.3.address",          "snapshots.log_bytes", "limits.session_expiry"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        char *text = value(a, keys[i]);
        is_set(b, keys[i], text);
        oar_free(text);
    }
}

static void round_trips(void) {
    oar_config *made, *read, *parsed;
    OK(oar_config_generate(3, "data", 7100, &made));
    is_set(made, "member.1.address", "127.0.0.1:7100");
    is_set(made, "member.3.address", "127.0.0.1:7102");
    set(made, "timing.heartbeat_interval", "20ms");
    set(made, "log.kind", "memory");
    set(made, "snapshots.log_bytes", "3 MiB");
    OK(oar_config_validate(made));
    OK(oar_config_write_file(made, "cluster.toml"));
    SAYS(oar_config_write_file(made, "cluster.toml"), OAR_ERR_EXISTS, "cluster.toml");
    SAYS(oar_config_write_file(made, "no/such/folder.toml"), OAR_ERR_NOT_FOUND, "folder.toml");
    OK(oar_config_load_file("cluster.toml", &read));
    same(made, read);
    char *text = dump(read), *again;
    OK(oar_config_parse(text, strlen(text), "elsewhere/other.toml", &parsed));
    same(made, parsed);
    again = dump(parsed);
    CHECK(strcmp(text, again) == 0);
    oar_free(again);
    oar_free(text);
    OK(oar_config_free(parsed));
    OK(oar_config_free(read));
    OK(oar_config_free(made));
    OK(oar_config_generate(1, "data", 7100, &made));
    OK(oar_config_generate(1, "data", 7100, &read));
    char *one = value(made, "cluster.id"), *other = value(read, "cluster.id");
    CHECK(strcmp(one, other) != 0); /* random */
    oar_free(one);
    oar_free(other);
    OK(oar_config_free(made));
    OK(oar_config_free(read));
}

static void generate(void) {
    oar_config *c = BOGUS(oar_config, 5);
    SAYS(oar_config_generate(0, "d", 7000, &c), OAR_ERR_CONFIG, "0 members");
    CHECK(c == NULL);
    IS(oar_config_generate(100, "d", 7000, &c), OAR_ERR_CONFIG);
    IS(oar_config_generate(UINT32_MAX, "d", 7000, &c), OAR_ERR_CONFIG);
    SAYS(oar_config_generate(3, "d", 65534, &c), OAR_ERR_CONFIG, "65536");
    IS(oar_config_generate(1, "d", 0, &c), OAR_ERR_CONFIG);
    OK(oar_config_generate(99, "d", 65437, &c));
    OK(oar_config_free(c));
}

static void keys(void) {
    oar_config *c;
    char *text = BOGUS(char, 3);
    OK(oar_config_new(&c));
    SAYS(oar_config_set(c, "timing.heartbeat_intervall", "60ms"), OAR_ERR_CONFIG, "heartbeat_interval");
    SAYS(oar_config_value(c, "log.knd", &text), OAR_ERR_CONFIG, "log.kind");
    CHECK(text == NULL);
    IS(oar_config_set(c, "", ""), OAR_ERR_CONFIG);
    SAYS(oar_config_set(c, "timing.heartbeat_interval", "soon"), OAR_ERR_CONFIG, "soon");
    SAYS(oar_config_set(c, "sizes.command_bytes_max", "many"), OAR_ERR_CONFIG, "many");
    is_set(c, "timing.heartbeat_interval", "60ms"); /* as before */
    SAYS(oar_config_validate(c), OAR_ERR_CONFIG, "cluster.id"); /* none, and no members */
    uint64_t ids[2];
    size_t count;
    SAYS(oar_config_set(c, "member.4.adress", "127.0.0.1:1"), OAR_ERR_CONFIG, "address");
    IS(oar_config_set(c, "member.0.address", "127.0.0.1:1"), OAR_ERR_CONFIG);
    IS(oar_config_set(c, "member.x.address", "127.0.0.1:1"), OAR_ERR_CONFIG);
    OK(oar_config_set(c, "member.4.address", "127.0.0.1:1")); /* a member comes to be by its first key */
    OK(oar_config_members(c, ids, 2, &count));
    CHECK(count == 1 && ids[0] == 4);
    OK(oar_config_free(c));
}

static void clashes(void) {
    oar_config *c;
    oar_server *server = BOGUS(oar_server, 1);
    oar_client *client = BOGUS(oar_client, 1);
    oar_server_options o;
    OAR_INIT(&o);
    o.flags = OAR_SERVER_PULL;
    OK(oar_config_generate(1, "data", 7100, &c));
    set(c, "timing.election_timeout_max", "100ms");
    SAYS(oar_config_validate(c), OAR_ERR_CONFIG, "timing.election_timeout_max");
    HAS(oar_last_error(), "timing.election_timeout_min");
    set(c, "sizes.command_bytes_max", "100 MiB");
    SAYS(oar_config_validate(c), OAR_ERR_CONFIG, "sizes.command_bytes_max"); /* all of it together */
    HAS(oar_last_error(), "sizes.block_bytes_max");
    HAS(oar_last_error(), "timing.election_timeout_min");
    IS(oar_server_open(c, 1, &o, &server), OAR_ERR_CONFIG);
    CHECK(server == NULL);
    IS(oar_client_open(c, NULL, &client), OAR_ERR_CONFIG);
    CHECK(client == NULL);
    IS(oar_server_format(c, 1), OAR_ERR_CONFIG);
    OK(oar_config_free(c));
}

/* What was set is not called the default, also of a file in which nothing stands about it. */
static void clash_of_what_was_set(void) {
    oar_config *c;
    const char *text = "[timing]\nelection_timeout_max = \"2s\"\n[cluster]\nid = \"5f2a4c5e-3f0b-4c44-9a1d-7b0c6a1e2d3f\"\n"
                       "[[member]]\nid = 1\naddress = \"127.0.0.1:7100\"\ndata = \"data\"\n";
    OK(oar_config_parse(text, strlen(text), "some.toml", &c));
    set(c, "timing.election_timeout_min", "3s");
    SAYS(oar_config_validate(c), OAR_ERR_CONFIG, "timing.election_timeout_max (2s, line 2) must be longer than timing.election_timeout_min (3s)");
    set(c, "timing.election_timeout_max", "1s");
    SAYS(oar_config_validate(c), OAR_ERR_CONFIG, "timing.election_timeout_max (1s) must be longer than timing.election_timeout_min (3s)");
    OK(oar_config_free(c));
}

static void no_member(void) {
    oar_config *c;
    oar_server *server;
    oar_server_options o;
    OAR_INIT(&o);
    o.flags = OAR_SERVER_PULL;
    OK(oar_config_generate(1, "data", 7100, &c));
    SAYS(oar_server_open(c, 7, &o, &server), OAR_ERR_NOT_FOUND, "there is no member 7");
    CHECK(strstr(oar_last_error(), "file does not exist") == NULL);
    SAYS(oar_server_format(c, 7), OAR_ERR_NOT_FOUND, "there is no member 7");
    CHECK(strstr(oar_last_error(), "file does not exist") == NULL);
    OK(oar_config_free(c));
}

/* A client has files of its own. */
static void clients_files(void) {
    oar_config *c;
    oar_client *client;
    OK(oar_config_generate(1, "data", 7100, &c));
    set(c, "member.1.client_address", "127.0.0.1:7200");
    set(c, "tls.certificate", "cert-{id}.pem");
    set(c, "tls.key", "key-{id}.pem");
    set(c, "tls.authorities", "ca.pem");
    SAYS(oar_client_open(c, NULL, &client), OAR_ERR_CONFIG, "a client needs files of its own");
    set(c, "tls.certificate", "mine.pem");
    set(c, "tls.key", "mine.key");
    SAYS(oar_client_open(c, NULL, &client), OAR_ERR_NOT_FOUND, "mine.pem");
    oar_client_options o;
    OAR_INIT(&o);
    o.servers = "127.0.0.1:7200,nowhere";
    SAYS(oar_client_open(c, &o, &client), OAR_ERR_CONFIG, "nowhere");
    OK(oar_config_free(c));
}

static void parsing(void) {
    oar_config *c = BOGUS(oar_config, 1);
    const char *bad = "[timing]\nheartbeat_intervall = \"60ms\"\n[log]\nkind = \"pebbel\"\n";
    SAYS(oar_config_parse(bad, strlen(bad), "some.toml", &c), OAR_ERR_CONFIG, "some.toml:2");
    CHECK(c == NULL);
    HAS(oar_last_error(), "heartbeat_interval");
    IS(oar_config_parse("= = =", 5, NULL, &c), OAR_ERR_CONFIG);
    IS(oar_config_parse("\0\0\xff", 3, NULL, &c), OAR_ERR_CONFIG);
    IS(oar_config_parse(NULL, 0, NULL, &c), OAR_ERR_CONFIG); /* a text with nothing in it */
    IS(oar_config_load_file("none.toml", &c), OAR_ERR_NOT_FOUND);
    oar_status status = oar_config_load_file("/", &c); /* a folder */
    CHECK(status != OAR_OK && status != OAR_ERR_INTERNAL && c == NULL);
}

static void members(void) {
    oar_config *c;
    uint64_t ids[4] = {9, 9, 9, 9};
    size_t count = 7;
    OK(oar_config_generate(3, "data", 7100, &c));
    OK(oar_config_members(c, NULL, 0, &count));
    CHECK(count == 3);
    OK(oar_config_members(c, ids, 2, &count));
    CHECK(count == 3 && ids[0] == 1 && ids[1] == 2 && ids[2] == 9);
    OK(oar_config_members(c, ids, 4, &count));
    CHECK(count == 3 && ids[2] == 3 && ids[3] == 9);
    oar_server_options o;
    oar_server *server;
    OAR_INIT(&o);
    o.flags = OAR_SERVER_PULL;
    oar_status status = oar_server_open(c, 4, &o, &server);
    CHECK((status == OAR_ERR_NOT_FOUND || status == OAR_ERR_CONFIG) && server == NULL);
    HAS(oar_last_error(), "4");
    status = oar_server_format(c, 0);
    CHECK(status == OAR_ERR_NOT_FOUND || status == OAR_ERR_CONFIG);
    OK(oar_config_free(c));
    OK(oar_config_new(&c));
    OK(oar_config_members(c, ids, 4, &count));
    CHECK(count == 0);
    OK(oar_config_free(c));
}

static oar_config *shared;
static void *setter(void *at) {
    for (int i = 0; i < 300; i++) {
        char *text;
        OK(oar_config_set(shared, "timing.heartbeat_interval", (uintptr_t)at % 2 ? "20ms" : "30ms"));
        OK(oar_config_value(shared, "timing.heartbeat_interval", &text));
        oar_free(text);
        OK(oar_config_validate(shared));
    }
    return NULL;
}

static void threads(void) {
    pthread_t t[4];
    OK(oar_config_generate(1, "data", 7100, &shared));
    for (uintptr_t i = 0; i < 4; i++) t[i] = spawn(setter, (void *)i);
    for (int i = 0; i < 4; i++) join(t[i]);
    OK(oar_config_free(shared));
}

const struct phase config_phases[] = {
    {"config.round-trips", round_trips}, {"config.generate", generate}, {"config.keys", keys},
    {"config.clashes", clashes},         {"config.clash-of-what-was-set", clash_of_what_was_set},
    {"config.no-member", no_member},     {"config.clients-files", clients_files},
    {"config.parsing", parsing},         {"config.members", members},
    {"config.threads", threads},         {NULL, NULL},
};
