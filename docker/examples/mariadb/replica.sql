-- On the replica. It tries again every two seconds, for more than two days: hosts and networks come and go.
CHANGE MASTER TO MASTER_HOST = 'PRIMARY', MASTER_USER = 'replica', MASTER_PASSWORD = 'PASSWORD',
    MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 2, MASTER_HEARTBEAT_PERIOD = 2;
START SLAVE;
