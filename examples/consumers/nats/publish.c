/*
 * Makes a JetStream stream with a durable consumer, and publishes so many
 * payments to it.
 *
 * usage: publish NATS_URL COUNT
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nats/nats.h>

static void
check(natsStatus status, const char *what)
{
	if (status == NATS_OK)
		return;
	fprintf(stderr, "%s: %s\n", what, natsStatus_GetText(status));
	exit(1);
}

static void
publish(jsCtx *stream, int number)
{
	char		id[32];
	char		body[64];
	jsPubOptions options;

	jsPubOptions_Init(&options);
	/* the id is the publisher's: a payment published again has the same */
	snprintf(id, sizeof(id), "payment-%d", number);
	snprintf(body, sizeof(body), "{\"account\": %d, \"amount\": \"%d.25\"}",
			 number % 100, number);
	options.MsgId = id;
	check(js_PublishAsync(stream, "payments.new", body, strlen(body), &options),
		  "publishing");
}

int
main(int argc, char **argv)
{
	int			count = argc > 2 ? atoi(argv[2]) : 0;
	natsConnection *broker;
	jsCtx	   *stream;
	jsStreamConfig stream_config;
	jsConsumerConfig consumer_config;
	jsStreamInfo *info;

	check(natsConnection_ConnectTo(&broker, argc > 1 ? argv[1] : NULL), "connecting");
	check(natsConnection_JetStream(&stream, broker, NULL), "JetStream");

	jsStreamConfig_Init(&stream_config);
	stream_config.Name = "PAYMENTS";
	stream_config.Subjects = (const char *[]) {"payments.*"};
	stream_config.SubjectsLen = 1;
	check(js_AddStream(NULL, stream, &stream_config, NULL, NULL), "stream");

	jsConsumerConfig_Init(&consumer_config);
	consumer_config.Durable = "payments";
	consumer_config.AckPolicy = js_AckExplicit;
	/* nanoseconds; short, since the test waits for it many times */
	consumer_config.AckWait = INT64_C(1000000000);
	check(js_AddConsumer(NULL, stream, "PAYMENTS", &consumer_config, NULL, NULL),
		  "durable consumer");

	for (int number = 1; number <= count; number++)
		publish(stream, number);
	check(js_PublishAsyncComplete(stream, NULL), "acknowledgements");

	check(js_GetStreamInfo(&info, stream, "PAYMENTS", NULL, NULL), "stream");
	printf("%" PRIu64 " published\n", info->State.Msgs);
	return 0;
}
