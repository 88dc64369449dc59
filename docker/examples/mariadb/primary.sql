-- On the primary. Containers are seen with their own addresses, so the replica's is all that needs to be let in.
CREATE USER 'replica'@'REPLICA' IDENTIFIED BY 'PASSWORD';
GRANT REPLICATION SLAVE ON *.* TO 'replica'@'REPLICA';
