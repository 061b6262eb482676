"""Keys of ZooKeeper's zoo.cfg that set nothing in coord: those it has no need of, those it must refuse.

Owns these lists (ZooKeeper 3.4 to 3.9). What ZooKeeper reads as a Java system property stands here as zoo.cfg
spells it, without `zookeeper.` in front.

Rule that holds here: a key is refused only where going on without it would leave the operator with less
protection than the file asks for.
"""

from __future__ import annotations

from typing import Final

_ENSEMBLE = """
    electionAlg peerType standaloneEnabled reconfigEnabled version oraclePath
    connectToLearnerMasterLimit observerMasterPort syncEnabled portUnification sslQuorumReloadCertFiles
    quorum.cnxn.threads.size multiAddress.enabled multiAddress.reachabilityCheckTimeoutMs
    multiAddress.reachabilityCheckEnabled cnxTimeout quorumCnxnTimeoutMs electionPortBindRetry leaderServes
    tcpKeepAlive fastleader.minNotificationInterval fastleader.maxNotificationInterval
    leader.ackLoggingFrequency leader.closeSocketAsync leader.maxConcurrentDiffSyncs
    leader.maxConcurrentSnapSyncs leader.maxTimeToWaitForEpoch leaderConnectDelayDuringRetryMs
    learner.asyncSending learner.closeSocketAsync observer.election.DelayMs observer.reconnectDelayMs
    observer.syncEnabled observerMaster.sizeLimit follower.skipLearnerRequestToNextProcessor
    forward_learner_requests_to_commit_processor_disabled quorum.auth.learner.saslLoginContext
    quorum.auth.server.saslLoginContext quorum.auth.kerberos.servicePrincipal
"""
_STORAGE = """
    preAllocSize commitLogCount txnLogSizeLimitInKb snapshotSizeFactor forceSync
    forceSnapshotSync snapshot.trust.empty snapshot.compression.method datadir.autocreate
    fsync.warningthresholdms digest.enabled serializeLastProcessedZxid.enabled
"""
_SESSIONS_AND_ACCESS = """
    localSessionsEnabled localSessionsUpgradingEnabled closeSessionTxn.enabled emulate353TTLNodes enforceQuota
    superUser X509AuthenticationProvider.superUser SASLAuthenticationProvider.superPassword
    DigestAuthenticationProvider.enabled IPAuthenticationProvider.usexforwardedfor ensembleAuthName
    enableEagerACLCheck requireClientAuthScheme jaasLoginRenew letAnySaslUserDoX allowSaslFailedClients
    enforce.auth.schemes fips-mode kinit requireKerberosConfig sasl.serverconfig security.auth_to_local
    secureClientPortAddress audit.enable audit.impl.class
"""
_THROTTLES = """
    maxCnxns clientTcpKeepAlive connection_throttle_tokens connection_throttle_fill_time
    connection_throttle_fill_count connection_throttle_freeze_time connection_throttle_drop_increase
    connection_throttle_drop_decrease connection_throttle_decrease_ratio connection_throttle_weight_enabled
    connection_throttle_global_session_weight connection_throttle_local_session_weight
    connection_throttle_renew_session_weight request_throttle_max_requests request_throttle_stall_time
    request_throttle_drop_stale request_stale_latency_check request_stale_connection_check
    request_throttler.shutdownTimeout throttled_op_wait_time largeRequestMaxBytes largeRequestThreshold
    request.timeout znode.container.maxNeverUsedIntervalMs
"""
_JAVA = """
    serverCnxnFactory clientCnxnSocket watchManagerName watcherCleanThreshold watcherCleanThreadsNum
    watcherCleanIntervalInSeconds maxInProcessingDeadWatchers bitHashCacheSize maxResponseCacheSize
    maxGetChildrenResponseCacheSize intBufferStartingSizeBytes flushDelay maxWriteQueuePollTime maxBatchSize
    messageTracker.BufferSize messageTracker.Enabled warningthresholdms jmx.log4j.disable jmx.log4j.mbean
    client.certReload client.portUnification shuffleDnsResponse
"""
UNNEEDED: Final = frozenset((_ENSEMBLE + _STORAGE + _SESSIONS_AND_ACCESS + _THROTTLES + _JAVA).split())

UNNEEDED_PREFIXES: Final = (
    "admin.",
    "authProvider.",
    "commitProcessor.",
    "jvm.pause.",
    "kerberos.",
    "metricsProvider.",
    "netty.",
    "nio.",
    "pathStats.",
    "ssl.",
)

FULFILLED: Final[dict[str, frozenset[str]]] = {
    "DigestAuthenticationProvider.digestAlg": frozenset({"sha1", "sha-1"}),
    "audit.enable": frozenset({"false"}),
    "digest.enabled": frozenset({"true"}),
    "electionAlg": frozenset({"3"}),
    "enforceQuota": frozenset({"false"}),
    "forceSync": frozenset({"yes", "true"}),
    "leaderServes": frozenset({"yes", "true"}),
    "localSessionsEnabled": frozenset({"false"}),
    "localSessionsUpgradingEnabled": frozenset({"false"}),
    "multiAddress.enabled": frozenset({"false"}),
    "peerType": frozenset({"participant"}),
    "portUnification": frozenset({"false"}),
    "reconfigEnabled": frozenset({"false"}),
    "snapshot.trust.empty": frozenset({"false"}),
    "sslQuorumReloadCertFiles": frozenset({"false"}),
    "standaloneEnabled": frozenset({"true", "false"}),
    "syncEnabled": frozenset({"true"}),
}
"""Values (in lower case) with which a key asks for what coord does anyway: nothing is to be said of it."""

_NO_SASL = "coord cannot demand SASL, and will not run as if it did"

REFUSED: Final = {
    "secureClientPort": "coord does not serve TLS; put a TLS proxy in front of clientPort",
    "sslQuorum": "coord's members do not speak TLS to each other; leave it out only on a trusted network",
    "quorum.auth.enableSasl": _NO_SASL,
    "quorum.auth.serverRequireSasl": _NO_SASL,
    "quorum.auth.learnerRequireSasl": _NO_SASL,
    "sessionRequireClientSASLAuth": _NO_SASL,
    "DigestAuthenticationProvider.digestAlg": "coord knows digests by SHA-1 only; another lets nobody in",
    "enforce.auth.enabled": "coord cannot demand credentials of every client, and will not run as if it did",
}
"""Why a key is refused, unless its value switches it off (or is in `FULFILLED`)."""
